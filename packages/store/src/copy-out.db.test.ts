/** Rows by COPY, over the connections on which queries follow each other without waiting. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { copyOut } from './copy-out.ts'
import { type Database, openDatabase } from './database.ts'

let target: TestDatabase
let database: Database

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
})
afterAll(async () => {
  await database.close()
  await target.drop()
})

const hex = (octets: Buffer) => `'\\x${octets.toString('hex')}'::bytea`

test('each row has its columns, NULL and nothing at all among them', async () => {
  const select = `VALUES (1::int4, '\\x00ff'::bytea), (2, NULL), (NULL, ''), (4, '\\x5047434f50590aff0d0a00')`
  expect(await copyOut(database.engine, select)).toEqual([
    [Buffer.from([0, 0, 0, 1]), Buffer.from([0, 0xff])],
    [Buffer.from([0, 0, 0, 2]), null],
    [null, Buffer.alloc(0)],
    [Buffer.from([0, 0, 0, 4]), Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')],
  ])
  expect(await copyOut(database.engine, 'SELECT 1 WHERE false')).toEqual([])
})

test('octets of any length come as they are, and stay so when more comes on the connection', async () => {
  const blobs = [1, 65_535, 65_536, 200_000, 3_000_000].map((length) => randomBytes(length))
  const rows = await Promise.all(
    blobs.map(async (blob) => {
      const [first, second] = await copyOut(database.engine, `VALUES (${hex(blob)}), (${hex(blob)})`)
      return [first?.[0], second?.[0]]
    }),
  )
  await database.engine.query('SELECT repeat($1, 1000000)', ['x'])
  for (const [index, blob] of blobs.entries())
    expect(rows[index]?.every((octets) => octets?.equals(blob))).toBe(true)
})

test('what PostgreSQL refuses is told, at once or after the first rows, and of them nothing is given', async () => {
  for (let i = 0; i < 8; i += 1) {
    await expect(copyOut(database.engine, 'SELECT 1/0')).rejects.toThrow('division by zero')
    await expect(
      copyOut(database.engine, `SELECT repeat('x', 100000), 1/(3-n) FROM generate_series(1, 5) AS n`),
    ).rejects.toThrow('division by zero')
    await expect(copyOut(database.engine, 'SELECT')).resolves.toHaveLength(1)
  }
})

test('what it asks for by a setting is its own, whatever was asked before on the connection', async () => {
  const asked = Array.from({ length: 40 }, (_, index) => `${index}`)
  const answers = await Promise.all(
    asked.map((value) =>
      copyOut(database.engine, `SELECT current_setting('valija.asked')`, {
        settings: { 'valija.asked': value },
      }),
    ),
  )
  expect(answers.map(([row]) => String(row?.[0]))).toEqual(asked)
  // A setting that PostgreSQL refuses leaves no answer to the question before.
  await expect(
    copyOut(database.engine, `SELECT current_setting('valija.asked')`, {
      settings: { 'valija.as-ked': 'x' },
    }),
  ).rejects.toThrow('valija.as-ked')
})

test('a connection that is cut between two rows is told', async () => {
  const cutting = copyOut(
    database.engine,
    `SELECT repeat('x', 100000), CASE WHEN n = 40 THEN pg_terminate_backend(pg_backend_pid()) END FROM generate_series(1, 50) AS n`,
  )
  await expect(cutting).rejects.toThrow(/terminat/)
  expect((await database.engine.query('SELECT 7 AS seven')).rows).toEqual([{ seven: 7 }])
})

test('one that takes too long is given up', async () => {
  await expect(copyOut(database.engine, 'SELECT pg_sleep(20)', { timeoutMs: 100 })).rejects.toThrow(
    'Query read timeout',
  )
  expect((await database.engine.query('SELECT 7 AS seven')).rows).toEqual([{ seven: 7 }])
})
