# Raw files, from the mirror or the network, to one prepared file a data set.


rule prepare:
    output:
        "<data>/prepared/{dataset}.safetensors",
    log:
        "<results>/logs/prepare/{dataset}.log",
    benchmark:
        "<results>/logs/prepare/{dataset}.benchmark.tsv"
    wildcard_constraints:
        dataset=any_of(name for name in config["datasets"] if name not in OWN_DATASETS),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=per_attempt(1_000),
        runtime=per_attempt(30),
    params:
        accept=lambda w: (
            "--accept-unverified" if w.dataset in config["data"]["accept_unverified"] else ""
        ),
        folder=subpath(output[0], ancestor=2),
    shell:
        "resampled-priors prepare {wildcards.dataset} --output {output:q} --raw {params.folder:q}/raw"
        " {params.accept} > {log:q} 2>&1"


# A data set of the user's own: the .npz file that the config names.
rule prepare_own:
    input:
        lambda w: local(config["datasets"][w.dataset]["images"]),  # no file of a module's prefix
    output:
        "<data>/prepared/{dataset}.safetensors",
    log:
        "<results>/logs/prepare/{dataset}.log",
    benchmark:
        "<results>/logs/prepare/{dataset}.benchmark.tsv"
    wildcard_constraints:
        dataset=any_of(OWN_DATASETS),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=per_attempt(1_000),
        runtime=per_attempt(30),
    shell:
        "resampled-priors prepare {wildcards.dataset} --output {output:q} --images {input:q}"
        " > {log:q} 2>&1"


rule datasets:
    input:
        expand("<data>/prepared/{run.dataset}.safetensors", run=experiment.all_runs(config)),
