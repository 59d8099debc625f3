# An image for a server: docker build -t sdr2hdr . (docs/server.md). NOTICE says what handing it on to others asks for.
FROM python:3.13-slim-bookworm

# "cpu", or a CUDA build of PyTorch by the name of its index, such as "cu128"
ARG TORCH=cpu

LABEL org.opencontainers.image.title="sdr2hdr" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later" \
      org.opencontainers.image.documentation="/usr/share/doc/sdr2hdr/NOTICE"

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE ./
COPY sdr2hdr ./sdr2hdr

# PyTorch first and from its own index: PyPI's build for Linux brings CUDA along. constraints.txt pins every version.
# hadolint ignore=DL3013
RUN torch="$(grep '^torch==' constraints.txt)" \
 && pip install --no-cache-dir --index-url "https://download.pytorch.org/whl/${TORCH}" "${torch}" \
 && pip install --no-cache-dir --constraint constraints.txt . \
 && install -D -m 644 -t /usr/share/doc/sdr2hdr LICENSE NOTICE \
 && cp /usr/share/common-licenses/GPL-2 /usr/share/doc/sdr2hdr/ \
 && useradd --create-home --uid 1000 sdr2hdr \
 && install -d -m 1777 /var/cache/sdr2hdr \
 && rm -r /src/sdr2hdr

USER 1000
WORKDIR /films

# compiled kernels and downloaded weights; any user may write there
ENV XDG_CACHE_HOME=/var/cache/sdr2hdr
ENTRYPOINT ["sdr2hdr"]
CMD ["--help"]
