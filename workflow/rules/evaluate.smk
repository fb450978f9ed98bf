# Z of a trained run, then its test metrics. A change of these settings does not retrain.


rule estimate_z:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
    output:
        ensure(f"{RUN}/z.json", non_empty=True),
    log:
        "<results>/logs/estimate_z/{dataset}.{model}.{prior}.seed{seed}.log",
    benchmark:
        "<results>/logs/estimate_z/{dataset}.{model}.{prior}.seed{seed}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **DEVICE,
        mem_mb=per_attempt(4_000),
        runtime=per_attempt(240),
    params:
        settings=json.dumps({"z_samples": BUDGET["z_samples"], "z_target": BUDGET.get("z_target")}),
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
        ensure(f"{RUN}/metrics.json", non_empty=True),
    log:
        "<results>/logs/evaluate/{dataset}.{model}.{prior}.seed{seed}.log",
    benchmark:
        "<results>/logs/evaluate/{dataset}.{model}.{prior}.seed{seed}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **DEVICE,
        mem_mb=per_attempt(4_000),
        runtime=per_attempt(240),
    params:
        settings=json.dumps({"importance_samples": BUDGET["importance_samples"]}),
        folder=subpath(input.model, parent=True),
    shell:
        "resampled-priors evaluate {params.folder:q} --data {input.data:q}"
        " --settings {params.settings:q} --device {resources.device} --threads {threads}"
        " > {log:q} 2>&1"
