# The base must hold Python >= 3.11 with venv.
ARG BASE_IMAGE=python:3.13-slim-bookworm
# Where pip needs a password, a CA or a proxy of yours: an image derived from the base that holds them and an
# /etc/pip.conf. Of it, only what pip installs reaches the last stage.
ARG BUILD_IMAGE=${BASE_IMAGE}

FROM ${BUILD_IMAGE} AS build
# For an index without a password: docker build --build-arg PIP_INDEX_URL .
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/rayjobwatch
WORKDIR /src
COPY requirements/operator.txt requirements/build.txt requirements/
RUN /opt/build/bin/pip install --require-hashes -r requirements/build.txt \
    && /opt/build/bin/pip --python /opt/rayjobwatch install --require-hashes -r requirements/operator.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/python -m hatchling build -t wheel \
    && /opt/build/bin/pip --python /opt/rayjobwatch install --no-deps dist/*.whl

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="RayJobWatch" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/rayjobwatch /opt/rayjobwatch
# kopf asks for the user's name, and neither this user nor one that a cluster chooses is in /etc/passwd.
ENV USER=rayjobwatch PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/rayjobwatch/bin:$PATH
# Else glibc keeps what it once needed: it raises this and its bound for mmap with each large block that is freed, such
# as a TLS connection's buffer. These 128 KiB are where it begins.
ENV MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
ENTRYPOINT ["/opt/rayjobwatch/bin/rayjobwatch"]
CMD ["run"]
