# Two stages: the toolchain that builds, and a small image that runs as a user of its own.

FROM rust:1.95.0-bookworm AS build
# The image has this toolchain; the file that names it would ask for components it does not need.
ENV RUSTUP_TOOLCHAIN=1.95.0
# The cryptography library compiles C and assembly.
RUN apt-get update \
    && apt-get install --no-install-recommends -y cmake clang \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p vb-server \
    && cp target/release/vectorbucket /usr/local/bin/vectorbucket

FROM debian:bookworm-slim
# Remote stores are reached over TLS.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /var/lib/vectorbucket --create-home --shell /usr/sbin/nologin vectorbucket \
    && install -d -o vectorbucket -g vectorbucket -m 0750 /var/lib/vectorbucket/data
COPY --from=build /usr/local/bin/vectorbucket /usr/local/bin/vectorbucket
COPY LICENSE /usr/share/doc/vectorbucket/LICENSE
USER vectorbucket
WORKDIR /var/lib/vectorbucket
# A container's network is its own: the ports are reachable only where they are published. TLS ends
# in front of them, or here: mount the files, set VECTORBUCKET_TLS_CERTIFICATE_FILE and
# VECTORBUCKET_TLS_KEY_FILE, and VECTORBUCKET_INSECURE_HTTP=false. See docs/operations.md.
ENV VECTORBUCKET_STORE=/var/lib/vectorbucket/data \
    VECTORBUCKET_LISTEN=0.0.0.0:9100 \
    VECTORBUCKET_ADMIN_LISTEN=127.0.0.1:9101 \
    VECTORBUCKET_INSECURE_HTTP=true \
    MALLOC_MMAP_THRESHOLD_=131072
VOLUME /var/lib/vectorbucket/data
EXPOSE 9100
STOPSIGNAL SIGTERM
ENTRYPOINT ["vectorbucket"]
CMD ["serve"]
