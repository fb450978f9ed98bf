# Small models fill a GPU only together, and where training is short, starting Python takes as long:
# where the config says so, one process does a step of several of the paper's runs. Each has its
# own folder as ever; a run outside the paper, or post hoc, has processes of its own.

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

        rule:
            name:
                f"estimate_z_together_{number}"
            input:
                run_files(["model.safetensors", "run.json"], group),
            output:
                run_files(["z.json"], group),
            log:
                f"<results>/logs/estimate_z/together_{number}.log",
            benchmark:
                f"<results>/logs/estimate_z/together_{number}.benchmark.tsv"
            conda:
                "../../environment.yml"
            threads: 1
            resources:
                **DEVICE,
                mem_mb=per_attempt(4_000),
                runtime=per_attempt(24 * 60),
            params:
                settings=json.dumps(experiment.resolve_z(config, group[0])),
                folders=lambda w, output: list(map(os.path.dirname, output)),
            shell:
                "resampled-priors estimate-z {params.folders:q} --settings {params.settings:q}"
                " --device {resources.device} --threads {threads} > {log:q} 2>&1"

        rule:
            name:
                f"evaluate_together_{number}"
            input:
                run_files(["model.safetensors", "run.json", "z.json"], group),
                data=prepared(group[0].dataset),
            output:
                run_files(["metrics.json"], group),
            log:
                f"<results>/logs/evaluate/together_{number}.log",
            benchmark:
                f"<results>/logs/evaluate/together_{number}.benchmark.tsv"
            conda:
                "../../environment.yml"
            threads: 1
            resources:
                **DEVICE,
                mem_mb=per_attempt(4_000),
                runtime=per_attempt(24 * 60),
            params:
                settings=json.dumps(experiment.resolve_evaluation(config, group[0])),
                folders=lambda w, output: list(map(os.path.dirname, output)),
            shell:
                "resampled-priors evaluate {params.folders:q} --data {input.data:q}"
                " --settings {params.settings:q} --device {resources.device}"
                " --threads {threads} > {log:q} 2>&1"

        for step in ("train", "estimate_z", "evaluate"):
            workflow.ruleorder(f"{step}_together_{number}", step)
