# The toys, which are trained here, and the figures: each from the runs, toys and data it shows.


def figure_runs(wildcards):
    """The runs of a figure; of those that exist only, where the config says partial."""
    return [
        run
        for run in experiment.figure_runs(config, wildcards.figure)
        if run_files(["model.safetensors", "run.json", "z.json"], [run])
    ]


def figure_settings(wildcards):
    """A figure's resolved settings as JSON."""
    runs = figure_runs(wildcards)
    return json.dumps(experiment.resolve_figure(config, wildcards.figure, runs))


def figure_data(wildcards):
    """The data sets that a figure encodes; most show models only."""
    if not config["figures"][wildcards.figure].get("encodes_data", False):
        return []
    datasets = dict.fromkeys(run.dataset for run in figure_runs(wildcards))
    return [f"<data>/prepared/{dataset}.safetensors" for dataset in datasets]


def figure_names():
    """All figures; where the config says partial, those that need no run or have one of theirs."""
    return [
        figure
        for figure, settings in config["figures"].items()
        if not settings.get("runs")
        or run_files(
            ["model.safetensors", "run.json", "z.json"], experiment.figure_runs(config, figure)
        )
    ]


rule toy:
    output:
        "<results>/toy/{toy}.npz",
    log:
        "<results>/logs/toy/{toy}.log",
    benchmark:
        "<results>/logs/toy/{toy}.benchmark.tsv"
    wildcard_constraints:
        toy=any_of(config["toys"]),
    threads: 1
    params:
        settings=lambda w: json.dumps(experiment.resolve_toy(config, w.toy)),
    shell:
        "resampled-priors toy {wildcards.toy} --output {output:q} --settings {params.settings:q}"
        " --threads {threads} > {log:q} 2>&1"


rule figure:
    input:
        toys=lambda w: [
            f"<results>/toy/{toy}.npz" for toy in config["figures"][w.figure].get("toys", [])
        ],
        runs=lambda w: run_files(["model.safetensors", "run.json", "z.json"], figure_runs(w)),
        data=figure_data,
    output:
        pdf="<results>/{figure}.pdf",
        png="<results>/{figure}.png",
        numbers="<results>/{figure}.npz",
    log:
        "<results>/logs/figures/{figure}.log",
    benchmark:
        "<results>/logs/figures/{figure}.benchmark.tsv"
    wildcard_constraints:
        figure=any_of(config["figures"]),
    threads: 1
    params:
        settings=figure_settings,
        results=subpath(output.pdf, parent=True),
        data=lambda w, input: (
            f"--data {shlex.quote(os.path.dirname(input.data[0]))}" if input.data else ""
        ),
    shell:
        "resampled-priors figure {wildcards.figure} --results {params.results:q}"
        " {params.data} --settings {params.settings:q} --device {config[device]}"
        " --threads {threads} > {log:q} 2>&1"


rule figures:
    input:
        expand("<results>/{figure}.pdf", figure=figure_names()),
