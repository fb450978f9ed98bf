# Z of a trained run, then its test metrics. A change of these settings does not retrain.


rule estimate_z:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
    output:
        f"{RUN}/z.json",
    log:
        "<results>/logs/estimate_z/{dataset}.{model}.{prior}.seed{seed}.log",
    benchmark:
        "<results>/logs/estimate_z/{dataset}.{model}.{prior}.seed{seed}.benchmark.tsv"
    threads: 1
    params:
        settings=json.dumps({"z_samples": BUDGET["z_samples"], "z_target": BUDGET.get("z_target")}),
        folder=subpath(input.model, parent=True),
    shell:
        "resampled-priors estimate-z {params.folder:q} --settings {params.settings:q}"
        " --device {config[device]} --threads {threads} > {log:q} 2>&1"


rule evaluate:
    input:
        model=f"{RUN}/model.safetensors",
        run=f"{RUN}/run.json",
        z=f"{RUN}/z.json",
        data="<data>/prepared/{dataset}.safetensors",
    output:
        f"{RUN}/metrics.json",
    log:
        "<results>/logs/evaluate/{dataset}.{model}.{prior}.seed{seed}.log",
    benchmark:
        "<results>/logs/evaluate/{dataset}.{model}.{prior}.seed{seed}.benchmark.tsv"
    threads: 1
    params:
        settings=json.dumps({"importance_samples": BUDGET["importance_samples"]}),
        folder=subpath(input.model, parent=True),
    shell:
        "resampled-priors evaluate {params.folder:q} --data {input.data:q}"
        " --settings {params.settings:q} --device {config[device]} --threads {threads}"
        " > {log:q} 2>&1"
