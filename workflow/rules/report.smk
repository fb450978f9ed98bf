# All tables and figures on one page that stands alone, beside Snakemake's own report.


rule page:
    input:
        rules.tables.input,
        rules.figures.input,
        rules.rivals.input,
    output:
        "<results>/index.html",
    log:
        "<results>/logs/index.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=per_attempt(1_000),
        runtime=per_attempt(10),
    params:
        settings=json.dumps(experiment.resolve_index(config)),
        folder=subpath(output[0], parent=True),
    shell:
        "resampled-priors index --results {params.folder:q} --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule index:
    input:
        rules.page.output,
