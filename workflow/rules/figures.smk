# The toys, which are trained here, and the figures: each from the runs, toys and data it shows.


rule toy:
    output:
        "<results>/toy/{toy}.npz",
    log:
        "<results>/logs/toy/{toy}.log",
    benchmark:
        "<results>/logs/toy/{toy}.benchmark.tsv"
    wildcard_constraints:
        toy=any_of(config["toys"]),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=per_attempt(1_000),
        runtime=per_attempt(30),
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
        runs=lambda w: run_files(experiment.figure_files(config, w.figure), figure_runs(w)),
        data=figure_data,
    output:
        pdf="<results>/{figure}.pdf",
        png=report(
            "<results>/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda w: report_labels("figure", w.figure),
        ),
        numbers="<results>/{figure}.npz",
        record="<results>/{figure}.json",
    log:
        "<results>/logs/figures/{figure}.log",
    benchmark:
        "<results>/logs/figures/{figure}.benchmark.tsv"
    wildcard_constraints:
        figure=any_of(config["figures"]),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        **DEVICE,
        mem_mb=per_attempt(4_000),
        runtime=per_attempt(240),
    params:
        settings=figure_settings,
        results=subpath(output.pdf, parent=True),
        data=lambda w, input: (
            f"--data {shlex.quote(os.path.dirname(input.data[0]))}" if input.data else ""
        ),
    shell:
        "resampled-priors figure {wildcards.figure} --results {params.results:q}"
        " {params.data} --settings {params.settings:q} --device {resources.device}"
        " --threads {threads} > {log:q} 2>&1"


rule figures:
    input:
        expand("<results>/{figure}.pdf", figure=of_the_paper(figure_names())),


rule rivals:
    input:
        expand(
            "<results>/{table}.{suffix}",
            table=of_rivals(config["tables"]),
            suffix=["csv", "md", "tex", "html", "json"],
        ),
        expand("<results>/{figure}.pdf", figure=of_rivals(figure_names())),
