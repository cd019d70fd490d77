# Isobar in a container: built in one stage, run in another that has only what the program is linked with.
#
#   docker build -t isobar .
#   docker build -t isobar --build-arg BASE=registry.example.org/debian:bookworm-slim .
#
# What it listens on and where its data is says deploy/docker/isobar.yaml; how to run it, docs/operating.md.
# BASE is any Debian or Ubuntu with apt that has the packages of tools/packages.txt. Nothing here needs BuildKit.
ARG BASE=debian:bookworm-slim

FROM $BASE AS build
WORKDIR /src
COPY tools/packages.sh tools/packages.txt tools/
RUN tools/packages.sh build image
COPY Makefile VERSION ./
COPY tools tools
COPY data data
COPY ui ui
COPY src src
# libraries: the packages of the shared libraries it needs, as the Debian package's Depends would name them.
RUN make -j"$(nproc)" build/isobar \
	&& strip --strip-unneeded --remove-section=.comment --remove-section=.note build/isobar \
	&& mkdir debian && printf 'Source: isobar\n\nPackage: isobar\nArchitecture: any\n' > debian/control \
	&& dpkg-shlibdeps -O build/isobar | sed 's/^shlibs:Depends=//; s/([^)]*)//g; s/,//g' > libraries

FROM $BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Isobar" \
	org.opencontainers.image.description="A WIS2 Global Broker" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"
COPY --from=build /src/libraries /tmp/libraries
RUN apt-get update -q \
	&& DEBIAN_FRONTEND=noninteractive xargs apt-get install -qy --no-install-recommends \
		ca-certificates < /tmp/libraries \
	&& rm -rf /tmp/libraries /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old \
		/var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
	&& groupadd --gid 10001 isobar \
	&& useradd --uid 10001 --gid isobar --no-create-home --home-dir /var/lib/isobar \
		--shell /usr/sbin/nologin isobar \
	&& install -d -o isobar -g isobar -m 750 /etc/isobar /etc/isobar/sources.d /var/lib/isobar
COPY --chown=isobar:isobar deploy/docker/isobar.yaml /etc/isobar/isobar.yaml
COPY LICENSE /usr/share/doc/isobar/LICENSE
COPY --from=build /src/build/isobar /usr/bin/isobar
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/isobar
VOLUME /var/lib/isobar
# MQTT and HTTP with MQTT over WebSocket, each without TLS and with
EXPOSE 1883 8080 8883 8443
STOPSIGNAL SIGTERM
# A start may have a large journal to check: unhealthy counts only after start-period.
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=15m CMD ["isobar", "health"]
ENTRYPOINT ["isobar"]
CMD ["run"]
