# One image with all programs, which runs them as a user without a name or a shell. Say which:
#   docker run IMAGE parley-chatd
FROM debian:12 AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /parley
COPY deploy/local/lib.sh deploy/local/
RUN source deploy/local/lib.sh && need_packages "${PACKAGES_BUILD[@]}" dpkg-dev
COPY . .
RUN cmake --preset package && cmake --build --preset package && cpack --preset package

FROM debian:12-slim AS installed
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY --from=build /parley/build/package/parley_*.deb /tmp/
COPY deploy/docker/rootfs.sh /tmp/
RUN apt-get update && \
    apt-get install -y --no-install-recommends /tmp/parley_*.deb && \
    rm -rf /var/lib/apt/lists/* && \
    /tmp/rootfs.sh /rootfs

# No shell, no package manager; nothing to check health with either, which is for who runs it: see
# compose.yaml and deploy/k8s.
FROM scratch
COPY --from=installed /rootfs /
USER 65532:65532
ENV PATH=/usr/bin
EXPOSE 50051 50052 50053 9051 9052 9053
CMD ["parley-chatd"]
