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
        raw="<data>/raw",
    shell:
        "resampled-priors prepare {wildcards.dataset} --output {output:q} --raw {params.raw:q}"
        " {params.accept} > {log:q} 2>&1"
