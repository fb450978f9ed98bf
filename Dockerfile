# The workflow with all it needs. Building takes the network, running does not:
#   docker build -t resampled-priors .
#   docker run --rm --network none -v "$PWD/results:/opt/resampled-priors/results" resampled-priors
# Untested: written where no container engine runs (docs/cluster.md says what was tried instead).
FROM python:3.11-slim

# The CPU build of PyTorch: its local version (+cpu) is preferred to the same one without. For a
# GPU: --build-arg TORCH_INDEX=
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /opt/resampled-priors
COPY . .
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url "$TORCH_INDEX" \
        torch torchvision \
    && pip install --no-cache-dir -c constraints.txt -e '.[workflow]' \
    && chmod -R a+rwX .

# Any user may run it (docker run --user): what is written outside results lies in these folders.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib OMP_NUM_THREADS=1
VOLUME /opt/resampled-priors/results
CMD ["snakemake", "all", "--cores", "all", "--configfile", "config/demo.yaml"]
