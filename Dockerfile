# syntax=docker/dockerfile:1
# One image for every service, the stream job and the migrations: `platform` and what it is told to run.
#   docker buildx build --platform linux/amd64,linux/arm64 --tag tidemark .

# This image brings what the build needs: gcc, g++, make and perl.
FROM rust:1.95-bookworm AS build
ARG TARGETARCH
# The image's own toolchain, not another one by rust-toolchain.toml.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    cargo build --release --locked --package platform --features tls \
    && cp target/release/platform /platform

# glibc, libgcc and the certificates of public authorities; no shell. Runs as user 65532 and writes only where it is told.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /platform /usr/local/bin/platform
# Others can connect here, so it starts with TIDEMARK_AUTH=enforced, or with TIDEMARK_ALLOW_OPEN=true where that is meant.
ENV TIDEMARK_HOST=0.0.0.0
EXPOSE 5000-5007
ENTRYPOINT ["/usr/local/bin/platform"]
