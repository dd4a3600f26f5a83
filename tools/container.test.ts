/** Keeps Dockerfile and docker-compose.yml true to the repository: nothing here needs a container engine. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { schema } from '../packages/runtime/src/config-schema.ts'
import { repositoryRoot } from './source-tree.ts'

const read = (path: string) => readFileSync(join(repositoryRoot, path), 'utf8')

interface Service {
  image?: string
  container_name?: string
  ports?: string[]
  volumes?: string[]
  command?: string[]
  stop_grace_period?: string
  environment?: Record<string, string | null>
  healthcheck?: { disable?: boolean; test?: string[] }
  depends_on?: Record<string, { condition: string }>
}

describe('Dockerfile', () => {
  it('copies the manifest of every workspace before it installs', () => {
    const beforeInstall = read('Dockerfile').split(/^RUN /m)[0] ?? ''
    const manifests = globSync('{apps,packages}/*/package.json', { cwd: repositoryRoot })
    expect(manifests.length).toBeGreaterThan(0)
    for (const manifest of manifests)
      expect(beforeInstall).toContain(`COPY ${manifest} ${dirname(manifest)}/`)
  })

  it('copies only what .dockerignore lets into the build context', () => {
    const admitted = new Set(
      read('.dockerignore')
        .match(/^!(.+)$/gm)
        ?.map((line) => line.slice(1)),
    )
    const copies = [...read('Dockerfile').matchAll(/^COPY (?!--from|\. )(.+) \S+$/gm)].flatMap(
      (match) => match[1]?.split(' ') ?? [],
    )
    expect(copies.filter((path) => !admitted.has(path.split('/')[0] ?? path))).toEqual([])
  })

  it('does not run as root and installs nothing that a package could run at install time', () => {
    expect(read('Dockerfile')).toMatch(/^USER node$/m)
    const installs = [...read('Dockerfile').matchAll(/npm ci .*/g)].map(([line]) => line)
    expect(installs).toHaveLength(2)
    for (const install of installs) expect(install).toContain('--ignore-scripts')
  })
})

describe('docker-compose.yml', () => {
  const { services } = parse(read('docker-compose.yml'), { merge: true }) as {
    services: Record<string, Service>
  }
  const service = (name: string) => services[name] ?? {}

  it('lets the workers be many: no name, no port, no volume of their own', () => {
    expect(service('worker').command).toEqual(['worker'])
    expect(service('worker')).not.toHaveProperty('container_name')
    expect(service('worker')).not.toHaveProperty('ports')
    expect(service('worker')).not.toHaveProperty('volumes')
  })

  it('publishes the API on this machine only, the SMTP listeners too until they are told otherwise, and nothing else', () => {
    const published = Object.entries(services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => [name, port]),
    )
    expect(published).toEqual([
      ['api', expect.stringMatching(/^127\.0\.0\.1:.*:3000$/)],
      ['smtp', expect.stringMatching(/:-127\.0\.0\.1:2525\}:2525$/)],
      ['smtp', expect.stringMatching(/:-127\.0\.0\.1:2587\}:2587$/)],
    ])
  })

  it('leaves a process the time that it takes to drain', () => {
    const [, seconds] = /:-(\d+)s\}$/.exec(service('worker').stop_grace_period ?? '') ?? []
    const [, limit] = /^(\d+)s$/.exec(schema.drainLimitMs.default) ?? []
    expect(Number(seconds)).toBeGreaterThanOrEqual(Number(limit) + 15)
    expect(service('worker').environment).toHaveProperty(schema.drainLimitMs.name)
  })

  it('has no default for a secret', () => {
    const { environment = {} } = service('api')
    for (const name of ['VALIJA_ADMIN_KEY', 'VALIJA_SECRET_KEY'])
      expect(environment[name]).toMatch(/^\$\{\w+:\?.+\}$/)
    expect(environment.DATABASE_URL).toMatch(/\$\{POSTGRES_PASSWORD:\?/)
  })

  it('captures mail until it is told to deliver', () => {
    expect(service('worker').environment?.VALIJA_DELIVERY).toMatch(/:-capture\}$/)
  })

  it('starts the roles when the database is migrated and both stores are healthy', () => {
    for (const role of ['api', 'worker', 'smtp']) {
      expect(service(role).depends_on).toEqual({
        postgres: { condition: 'service_healthy' },
        valkey: { condition: 'service_healthy' },
        migrate: { condition: 'service_completed_successfully' },
      })
    }
    for (const name of ['postgres', 'valkey'])
      expect(service(name).healthcheck?.test?.length).toBeGreaterThan(0)
  })

  it('keeps what must not be lost: the data folder of PostgreSQL 18, and a Valkey that evicts nothing', () => {
    expect(service('postgres').volumes).toEqual(['postgres:/var/lib/postgresql'])
    expect(service('valkey').command?.join(' ')).toContain('--appendonly yes')
    expect(service('valkey').command?.join(' ')).toContain('--maxmemory-policy noeviction')
  })
})
