# One rule trains every run; a post-hoc run starts from the model of its base run.


def base_model(wildcards):
    base = config["priors"][wildcards.prior]["base"]
    return f"<results>/runs/{wildcards.dataset}/{wildcards.model}/{base}/seed{wildcards.seed}/model.safetensors"


rule train:
    input:
        data="<data>/prepared/{dataset}.safetensors",
    output:
        model=f"{RUN}/model.safetensors",
        training=f"{RUN}/training.csv",
        run=f"{RUN}/run.json",
    log:
        "<results>/logs/train/{dataset}.{model}.{prior}.seed{seed}.log",
    benchmark:
        "<results>/logs/train/{dataset}.{model}.{prior}.seed{seed}.benchmark.tsv"
    wildcard_constraints:
        prior=any_of(name for name in config["priors"] if name not in POSTHOC),
    threads: 1
    params:
        settings=run_settings,
        folder=subpath(output.model, parent=True),
        base="",
    shell:
        "resampled-priors train {params.folder:q} --data {input.data:q} {params.base}"
        " --settings {params.settings:q} --device {config[device]} --threads {threads}"
        " > {log:q} 2>&1"


# Post hoc (D.2): encoder and decoder of the base run stay as they are, only a(z) is fitted.
use rule train as fit_posthoc with:
    input:
        data="<data>/prepared/{dataset}.safetensors",
        base=base_model,
    wildcard_constraints:
        prior=any_of(POSTHOC),
    params:
        settings=run_settings,
        folder=subpath(output.model, parent=True),
        base=lambda w, input: f"--base {shlex.quote(input.base)}",
