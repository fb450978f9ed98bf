# Raw files, from the mirror or the network, to one prepared file a data set.


rule prepare:
    output:
        "<data>/prepared/{dataset}.safetensors",
    log:
        "<results>/logs/prepare/{dataset}.log",
    threads: 1
    params:
        accept=lambda w: (
            "--accept-unverified" if w.dataset in config["data"]["accept_unverified"] else ""
        ),
        folder=subpath(output[0], ancestor=2),
    shell:
        "resampled-priors prepare {wildcards.dataset} --output {output:q} --raw {params.folder:q}/raw"
        " {params.accept} > {log:q} 2>&1"
