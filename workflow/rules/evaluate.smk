# Z of a trained run, then its test metrics. A change of these settings does not retrain.


rule estimate_z:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
    output:
        f"{RUN}/z.json",
    log:
        f"<results>/logs/estimate_z/{LOG_NAME}.log",
    benchmark:
        f"<results>/logs/estimate_z/{LOG_NAME}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **DEVICE,
        mem_mb=per_attempt(4_000),
        runtime=per_attempt(240),
    params:
        settings=lambda w: json.dumps(experiment.resolve_z(config, run_of(w))),
        folder=subpath(input.model, parent=True),
    shell:
        "resampled-priors estimate-z {params.folder:q} --settings {params.settings:q}"
        " --device {resources.device} --threads {threads} > {log:q} 2>&1"


rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
        z=f"{RUN}/z.json",
        data=lambda w: prepared(w.dataset),
    output:
        f"{RUN}/metrics.json",
    log:
        f"<results>/logs/evaluate/{LOG_NAME}.log",
    benchmark:
        f"<results>/logs/evaluate/{LOG_NAME}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **DEVICE,
        mem_mb=per_attempt(4_000),
        runtime=per_attempt(240),
    params:
        settings=lambda w: json.dumps(experiment.resolve_evaluation(config, run_of(w))),
        folder=subpath(input.model, parent=True),
    shell:
        "resampled-priors evaluate {params.folder:q} --data {input.data:q}"
        " --settings {params.settings:q} --device {resources.device} --threads {threads}"
        " > {log:q} 2>&1"
