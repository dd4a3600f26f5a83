/** Three kinds of tests: units and store/endpoint tests beside the code, end-to-end ones in tests/ (real processes). */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // Most tests wait for databases, peers and leases, so two at a time pay even on two cores.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['packages/**/*.test.ts', 'apps/**/*.test.ts', 'tools/**/*.test.ts'],
          exclude: ['**/*.db.test.ts', '**/node_modules/**'],
        },
      },
      {
        test: {
          name: 'store',
          include: ['packages/**/*.db.test.ts', 'apps/**/*.db.test.ts'],
          globalSetup: ['tests/support/cluster.ts'],
          // Importing a file has no effect, so files can share what is loaded; each has a database of its own.
          isolate: false,
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['tests/t-*.test.ts'],
          globalSetup: ['tests/support/cluster.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
})
