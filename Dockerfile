# Builds with a plain `docker build .`; no builder's extras are used.
# Behind a mirror of the package index: --build-arg PIP_INDEX_URL=… --build-arg UV_DEFAULT_INDEX=…

FROM python:3.13-slim AS build
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /src
RUN pip install uv==0.13.8

# The locked packages first: this layer is made again only when the lock changes. By way of a list
# with hashes, because the lock itself names the addresses of the public index and goes past a mirror.
COPY pyproject.toml uv.lock ./
RUN uv export --frozen --no-dev --no-emit-project --quiet --output-file requirements.txt \
    && uv venv /opt/banjie \
    && uv pip install --python /opt/banjie --require-hashes --compile-bytecode -r requirements.txt

COPY README.md LICENSE ./
COPY adapters adapters
COPY routing_rules routing_rules
COPY service service
RUN uv build --wheel --out-dir dist \
    && uv pip install --python /opt/banjie --no-deps --compile-bytecode dist/*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin banjie \
    && install --directory --owner banjie --group banjie --mode 750 /data \
    && install --directory --owner banjie --group banjie --mode 700 /etc/banjie
COPY --from=build /opt/banjie /opt/banjie
ENV PATH=/opt/banjie/bin:$PATH PYTHONUNBUFFERED=1 BANJIE_DATABASE_URL=sqlite:////data/banjie.db
USER banjie
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["banjie", "serve", "--host", "0.0.0.0"]
