#!/usr/bin/env node
/**
 * Prisma's schema engine, run from the WASM build on npm (@prisma/schema-engine-wasm) instead of a downloaded binary.
 * The Prisma CLI starts this file as its engine (PRISMA_SCHEMA_ENGINE_BINARY, set by prisma.mjs) in one of three ways:
 *
 *   --version                            prints a version
 *   --datasource <json> cli <command>    `can-connect-to-database` or `create-database`, then exits
 *   --datasource <json> --datamodels …   speaks JSON-RPC 2.0, one object a line, on stdin and stdout until stdin ends
 *
 * Works: generate, validate, format, migrate dev | deploy | status | reset | diff, db push | pull.
 * Does not: generate --sql (TypedSQL), which panics in the WASM build.
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { PrismaPg } from '@prisma/adapter-pg'
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from '@prisma/driver-adapter-utils'
import pg from 'pg'

const args = process.argv.slice(2)
/** All values of an option that may be given several times. */
const optionValues = (name) => args.flatMap((arg, at) => (arg === name ? [args[at + 1]] : []))
const databaseUrl = () => JSON.parse(optionValues('--datasource')[0] ?? '{}').url

const withDatabase = (url, database) => {
  const changed = new URL(url)
  changed.pathname = `/${encodeURIComponent(database)}`
  return changed.href
}

/** Connects, runs one statement if there is one, and disconnects. */
async function once(url, sql) {
  const client = new pg.Client(url)
  await client.connect()
  try {
    if (sql) await client.query(sql)
  } finally {
    await client.end()
  }
}

/** SQLSTATE → the error codes by which the CLI tells a missing database from a wrong password. */
const prismaErrorCodes = { '3D000': 'P1003', '42P04': 'P1009', '28P01': 'P1000' }

/** Answers `cli can-connect-to-database` and `cli create-database`; returns the exit code. */
async function runCommand(url) {
  const log = (level, fields) => {
    const entry = { timestamp: new Date().toISOString(), level, target: 'schema_engine::logger', fields }
    process.stderr.write(`${JSON.stringify(entry)}\n`)
  }
  try {
    const database = decodeURIComponent(new URL(url).pathname.slice(1)) || 'postgres'
    if (args.at(-1) === 'create-database') {
      await once(withDatabase(url, 'postgres'), `CREATE DATABASE ${pg.escapeIdentifier(database)}`)
    } else {
      await once(url)
    }
    return 0
  } catch (error) {
    log('INFO', { message: 'schema engine' }) // the CLI drops the first line
    log('ERROR', {
      is_panic: false,
      error_code: prismaErrorCodes[error.code] ?? 'P1001',
      message: error.message,
    })
    return 1
  }
}

/** PostgreSQL's oids of the catalogue type "char" and of bpchar. */
const charOid = 18
const bpcharOid = 1042

/** adapter-pg 7.10 refuses the catalogue type "char": it is read as bpchar and reported as Character. */
function acceptCatalogueChar(connection) {
  let isChar = []
  const performIO = connection.performIO.bind(connection)
  const queryRaw = connection.queryRaw.bind(connection)
  connection.performIO = async (query) => {
    const result = await performIO(query)
    isChar = result.fields.map((field) => field.dataTypeID === charOid)
    for (const field of result.fields) if (field.dataTypeID === charOid) field.dataTypeID = bpcharOid
    return result
  }
  connection.queryRaw = async (query) => {
    const result = await queryRaw(query)
    const columnTypes = result.columnTypes.map((type, at) => (isChar[at] ? ColumnTypeEnum.Character : type))
    return { ...result, columnTypes }
  }
  return connection
}

async function connect(url) {
  return acceptCatalogueChar(await new PrismaPg({ connectionString: url, max: 2 }).connect())
}

/** The scratch database on which migrations are replayed; dropped when the engine lets go of it. */
async function connectToShadowDatabase(url) {
  const name = `prisma_shadow_${process.pid}_${Date.now()}`
  await once(url, `CREATE DATABASE "${name}"`)
  const connection = await connect(withDatabase(url, name))
  const dispose = connection.dispose.bind(connection)
  connection.dispose = async () => {
    await dispose()
    await once(url, `DROP DATABASE "${name}" WITH (FORCE)`)
  }
  return connection
}

async function loadEngine(url) {
  globalThis.PRISMA_WASM_PANIC_REGISTRY = {
    set_message(message) {
      throw new Error(message)
    },
  }
  const bindings = await import('@prisma/schema-engine-wasm/schema_engine_bg')
  const bindingsUrl = import.meta.resolve('@prisma/schema-engine-wasm/schema_engine_bg')
  const wasm = readFileSync(new URL('./schema_engine_bg.wasm', bindingsUrl))
  const { instance } = await WebAssembly.instantiate(wasm, { './schema_engine_bg.js': bindings })
  bindings.__wbg_set_wasm(instance.exports)
  instance.exports.__wbindgen_start()
  const files = optionValues('--datamodels')
  const datamodels = files.length > 0 ? files.map((file) => [file, readFileSync(file, 'utf8')]) : undefined
  const adapterFactory = bindMigrationAwareSqlAdapterFactory({
    provider: 'postgres',
    adapterName: '@prisma/adapter-pg',
    connect: () => connect(url),
    connectToShadowDb: () => connectToShadowDatabase(url),
  })
  const ignoreLog = () => {} // the engine's own trace; errors come back as answers
  return bindings.SchemaEngine.new({ datamodels }, ignoreLog, adapterFactory)
}

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)

const rpcError = (error) => ({
  code: 4466,
  message: 'An error happened. Check the data field for details.',
  data: {
    is_panic: false,
    message: error.message ?? String(error),
    meta: error.meta ?? null,
    error_code: error.code ?? null,
  },
})

/** Serves the CLI's calls one after the other: the engine is not made for overlapping ones. */
function serve(url) {
  let engine // created in the first call, so that a failure is answered as an RPC error
  const answer = async ({ id, method, params }) => {
    try {
      engine ??= await loadEngine(url)
      const result = (await engine[method === 'getDatabaseVersion' ? 'version' : method](params)) ?? null
      if (result?.stdout) send({ id: 0, method: 'print', params: { content: result.stdout } })
      send({ id, result })
    } catch (error) {
      send({ id, error: rpcError(error) })
    }
  }
  let lastAnswer = Promise.resolve()
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const call = JSON.parse(line)
      if (call.method) lastAnswer = lastAnswer.then(() => answer(call))
    })
    .on('close', () => lastAnswer.then(() => process.exit(0)))
}

if (args.includes('--version')) process.stdout.write('schema-engine-cli wasm\n')
else if (args.includes('cli')) process.exitCode = await runCommand(databaseUrl())
else serve(databaseUrl())
