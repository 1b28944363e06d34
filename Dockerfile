# The base must hold Python >= 3.11. Package index settings come from the builder's own environment or pip.conf,
# passed as a build secret: docker build --secret id=pip,src=$HOME/.config/pip/pip.conf .
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/rayjobwatch
WORKDIR /src
COPY requirements/operator.txt requirements/build.txt requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/rayjobwatch/bin/pip install --require-hashes -r requirements/operator.txt
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/python -m hatchling build -t wheel \
    && /opt/rayjobwatch/bin/pip install --no-deps dist/*.whl \
    && /opt/rayjobwatch/bin/python -m compileall -q /opt/rayjobwatch/lib

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="RayJobWatch" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/rayjobwatch /opt/rayjobwatch
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/rayjobwatch/bin:$PATH
USER 65532:65532
ENTRYPOINT ["/opt/rayjobwatch/bin/rayjobwatch"]
CMD ["run"]
