# A table is made from the metrics of the runs it shows; runs that tables share are made once.


rule table:
    input:
        lambda w: run_files(["metrics.json", "run.json"], table_runs(w)),
    output:
        record="<results>/{table}.json",
        csv="<results>/{table}.csv",
        md="<results>/{table}.md",
        tex="<results>/{table}.tex",
        html=report(
            "<results>/{table}.html",
            caption="../report/table.rst",
            category="Tables",
            labels=lambda w: report_labels("table", w.table),
        ),
    log:
        "<results>/logs/tables/{table}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=per_attempt(1_000),
        runtime=per_attempt(10),
    params:
        settings=lambda w: json.dumps(experiment.resolve_table(config, w.table)),
        others=lambda w: runs_of_other_budgets(w.table),  # when one is there, the table is made again
        folder=subpath(output.csv, parent=True),
    shell:
        "resampled-priors table {wildcards.table} --results {params.folder:q}"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule tables:
    input:
        expand(
            "<results>/{table}.{suffix}",
            table=of_the_paper(config["tables"]),
            suffix=["csv", "md", "tex", "html", "json"],
        ),
