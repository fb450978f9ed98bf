# A table is made from the metrics of the runs it shows; runs that tables share are made once.


rule table:
    input:
        lambda w: run_files(["metrics.json", "run.json"], experiment.table_runs(config, w.table)),
    output:
        csv="<results>/{table}.csv",
        md="<results>/{table}.md",
        tex="<results>/{table}.tex",
    log:
        "<results>/logs/tables/{table}.log",
    params:
        settings=lambda w: json.dumps(experiment.resolve_table(config, w.table)),
        folder=subpath(output.csv, parent=True),
    shell:
        "resampled-priors table {wildcards.table} --results {params.folder:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule tables:
    input:
        expand("<results>/{table}.{suffix}", table=config["tables"], suffix=["csv", "md", "tex"]),
