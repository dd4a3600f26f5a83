/**
 * Four kinds of tests: units, those with I/O of their own, and store/endpoint tests beside the code; end-to-end ones in tests/
 * (real processes).
 */
import { defineConfig } from 'vitest/config'

/**
 * Nothing is shown by these: a test that hangs ends by them, and one that waits on a busy machine does not. They are longer than
 * the waits inside the tests (PATIENCE_MS of tests/support/until.ts), whose errors say what did not come.
 */
const patience = {
  testTimeout: 120_000,
  hookTimeout: 180_000,
  expect: { poll: { timeout: 60_000 } },
}

/** Most of these tests wait for databases, peers and leases, so three at a time pay even on two cores. */
const afterwards = { maxWorkers: 3, sequence: { groupOrder: 1 } }

/** All that lies beside the code, by the ending of its name. */
const beside = (ending: string) =>
  ['packages', 'apps', 'tools', 'torture', 'bench'].map((folder) => `${folder}/**/*${ending}`)

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          ...afterwards,
          ...patience,
          include: beside('.test.ts'),
          exclude: ['**/*.{db,io}.test.ts', '**/node_modules/**'],
          setupFiles: ['tests/support/no-io.ts'],
          isolate: false,
        },
      },
      {
        test: {
          name: 'io',
          ...afterwards,
          ...patience,
          include: beside('.io.test.ts'),
          isolate: false,
        },
      },
      {
        test: {
          name: 'store',
          ...afterwards,
          ...patience,
          include: beside('.db.test.ts'),
          globalSetup: ['tests/support/cluster.ts'],
          // Importing a file has no effect, so files can share what is loaded; each has a database of its own.
          isolate: false,
        },
      },
      {
        test: {
          name: 'e2e',
          // What a test starts keeps a core busy: with three at a time on two cores none of them was idle, and a dozen processes waited for one.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
          ...patience,
          include: ['tests/t-*.test.ts'],
          globalSetup: ['tests/support/cluster.ts'],
          // What is tested runs in processes of its own, nearly all of it; loading the tools anew for each file took two seconds of the processor.
          isolate: false,
        },
      },
    ],
  },
})
