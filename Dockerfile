# Debian 13 with its own Node and Mesa's software Vulkan driver: for a system whose packages cannot run Patchlight, such as one
# without glibc.
#   docker build -t patchlight .
#   docker run --rm -v "$PWD/runs:/patchlight/runs" patchlight
FROM debian:trixie-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates mesa-vulkan-drivers nodejs npm \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /patchlight
COPY . .
RUN node scripts/setup.mjs && node scripts/build.mjs
CMD ["npm", "start"]
