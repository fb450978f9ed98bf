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


# Small models fill a GPU only together: where the config says so, one process trains several of
# the paper's runs. Each has its own folder as ever; a run outside the paper is trained alone.
if config.get("runs_per_process", 1) > 1:
    for number, group in enumerate(experiment.runs_trained_together(config)):

        rule:
            name:
                f"train_together_{number}"
            input:
                data=prepared(group[0].dataset),
            output:
                model=run_files(["model.safetensors"], group),
                training=run_files(["training.csv"], group),
                run=run_files(["run.json"], group),
            log:
                f"<results>/logs/train/together_{number}.log",
            benchmark:
                f"<results>/logs/train/together_{number}.benchmark.tsv"
            conda:
                "../../environment.yml"
            threads: 1
            resources:
                **DEVICE,
                mem_mb=per_attempt(4_000 + 500 * len(group)),
                runtime=per_attempt(24 * 60),
            params:
                settings=settings_of_group(group),
                folders=lambda w, output: [os.path.dirname(model) for model in output.model],
            shell:
                "resampled-priors train-together {params.folders:q} --data {input.data:q}"
                " {params.settings:q} --device {resources.device} --threads {threads}"
                " > {log:q} 2>&1"

        workflow.ruleorder(f"train_together_{number}", "train")
