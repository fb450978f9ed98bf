# One rule trains every run; a post-hoc run starts from the model of its base run.


rule train:
    input:
        data=lambda w: prepared(w.dataset),
    output:
        model=f"{RUN}/model.safetensors",
        training=f"{RUN}/training.csv",
        run=f"{RUN}/run.json",
    log:
        f"<results>/logs/train/{LOG_NAME}.log",
    benchmark:
        f"<results>/logs/train/{LOG_NAME}.benchmark.tsv"
    wildcard_constraints:
        prior=any_of(name for name in config["priors"] if name not in POSTHOC),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **DEVICE,
        mem_mb=per_attempt(4_000),
        runtime=training_minutes,
    params:
        settings=run_settings,
        folder=subpath(output.model, parent=True),
        base="",
    shell:
        "resampled-priors train {params.folder:q} --data {input.data:q} {params.base}"
        " --settings {params.settings:q} --device {resources.device} --threads {threads}"
        " > {log:q} 2>&1"


# Post hoc (D.2): encoder and decoder of the base run stay as they are, only a(z) is fitted.
use rule train as fit_posthoc with:
    input:
        data=lambda w: prepared(w.dataset),
        base=base_model,
    wildcard_constraints:
        prior=any_of(POSTHOC),
    params:
        settings=run_settings,
        folder=subpath(output.model, parent=True),
        base=lambda w, input: f"--base {shlex.quote(input.base)}",
