# One image, one role per container: `api` (default), `worker`, `smtp`, `migrate`; see docker-compose.yml.
#
#   docker build -t valija .
#   docker run --rm valija migrate          any command of the CLI can be given
#
# The TypeScript is run as it is (Node strips the types), so the only thing that is built is the Prisma client.

# --- everything, to generate the Prisma client -------------------------------------------------------------------
FROM node:26-bookworm-slim AS build
WORKDIR /app
# The manifests alone decide what is installed: as long as they stay the same, so do the layers up to `npm ci`.
COPY package.json package-lock.json .npmrc ./
COPY apps/api/package.json apps/api/
COPY apps/cli/package.json apps/cli/
COPY apps/smtp/package.json apps/smtp/
COPY apps/worker/package.json apps/worker/
COPY packages/client/package.json packages/client/
COPY packages/core/package.json packages/core/
COPY packages/courier/package.json packages/courier/
COPY packages/flows/package.json packages/flows/
COPY packages/mail/package.json packages/mail/
COPY packages/runtime/package.json packages/runtime/
COPY packages/store/package.json packages/store/
COPY packages/templates/package.json packages/templates/
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --omit=optional
COPY . .
RUN node tools/prisma.mjs generate --no-hints

# --- only what runs: the same tree, without tools, the embedded PostgreSQL and Prisma's own program ----------------
FROM build AS production
# @prisma/client asks for prisma and typescript as peers, for their types: they are not needed to run.
# Its query compiler comes for every database it knows, in two sizes: the generated client loads the `fast` one of
# PostgreSQL. Without the rest node_modules takes half the space.
RUN --mount=type=cache,target=/root/.npm \
    npm ci --ignore-scripts --omit=dev --omit=peer --omit=optional \
 && cd node_modules/@prisma/client/runtime \
 && rm -f query_compiler_*.cockroachdb.* query_compiler_*.mysql.* query_compiler_*.sqlite.* query_compiler_*.sqlserver.* \
          query_compiler_small_bg.* wasm-compiler-edge.* index-browser.* *.map

# --- the image --------------------------------------------------------------------------------------------------
FROM node:26-bookworm-slim
LABEL org.opencontainers.image.title="Valija" \
      org.opencontainers.image.description="A self-hosted transactional email API" \
      org.opencontainers.image.licenses="MIT"
WORKDIR /app
COPY --from=production /app/package.json /app/LICENSE ./
COPY --from=production /app/node_modules ./node_modules
COPY --from=production /app/packages ./packages
COPY --from=production /app/apps ./apps
COPY --from=production /app/prisma ./prisma
# The code is root's and read-only to the process; the data folder is the one place it can write to.
RUN install -d -o node -g node -m 700 /var/lib/valija
# Inside a container 127.0.0.1 reaches nobody: who may reach the port is decided where it is published.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 VALIJA_DATA_DIR=/var/lib/valija
USER node
EXPOSE 3000 2525 2587
STOPSIGNAL SIGTERM
# For the role `api`. The others serve no HTTP: switch it off for them, as docker-compose.yml does.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "apps/cli/src/main.ts"]
CMD ["api"]
