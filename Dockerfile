# The image of runs, worker and relay in ECS: one image, three commands. Nothing secret goes into it.
#
#     docker build --tag sensor-ingest .
#
# The tag below gets new patches of Python and Debian with each build. To have the same one every time, give its digest:
# --build-arg BASE=python:3.11-slim-bookworm@sha256:…, which `make pinned-base` prints.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /app
RUN python -m venv /opt/venv
# What `make lock` made of pyproject.toml: its dependencies, the extra dask, and setuptools for the step after next.
COPY deployments/aws/image-requirements.lock /tmp/
RUN /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes --requirement /tmp/image-requirements.lock
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY flows flows
COPY blocks blocks
COPY deployments deployments
# Where prefect.yaml lies beside the packages, `sensor-ingest deploy` and `doctor` find it.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && /opt/venv/bin/python -m compileall -q flows blocks deployments

FROM ${BASE}
RUN useradd --uid 10001 --create-home sensor-ingest
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1
USER 10001
# In ECS all else is read-only. A volume has the owner and mode that its folder has here.
# Source: "Use bind mounts with Amazon ECS", Amazon ECS developer guide.
VOLUME ["/home/sensor-ingest", "/tmp"]
WORKDIR /app
# What runs, worker and relay import is there.
RUN python -c "import deployments.relay.relay, flows.ingest, flows.notify, flows.sweep, prefect_aws.workers.ecs_worker"
CMD ["sensor-ingest", "--help"]
