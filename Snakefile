# Resampled Priors for VAEs: every table and figure of the paper, from raw data.
#
#   snakemake --cores 8 tables                     all eight tables
#   snakemake --cores 8 rivals                     Tables R.1 to R.3: other priors, posteriors, objectives
#   snakemake --cores 8 results/tableD3.md         one table and the runs it needs
#   snakemake --cores 2 results/runs/short/dynamic_mnist/vae/lars_T50/seed0/metrics.json   one cell

from snakemake.utils import min_version

min_version("9.12")


# That of the working folder, or with --directory elsewhere the one beside this file.
configfile: "config.yaml" if os.path.exists("config.yaml") else workflow.source_path("config.yaml")


# With --sdm apptainer alone, and then in the place of the environment: built from apptainer.def.
container: "resampled-priors.sif"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/settings.smk"
include: "workflow/rules/shown.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/together.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/guards.smk"
include: "workflow/rules/brief.smk"
include: "workflow/rules/estimate.smk"


localrules:
    all,
    datasets,
    tables,
    figures,
    rivals,
    index,


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.rivals.input,
        rules.index.input,
