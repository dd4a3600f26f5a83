/** packages/client as a program gets it from the registry: built, packed by npm, and unpacked into the program's node_modules. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { packClient } from '../../tools/pack-client.ts'

/**
 * @param folder the program's, made if it is not there
 * @returns the built folder that was packed
 */
export function installPackedClient(folder: string): string {
  const built = path.join(folder, 'built')
  packClient(built)
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: built,
    encoding: 'utf8',
  })
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
  const target = path.join(folder, 'node_modules', '@valija', 'client')
  mkdirSync(target, { recursive: true })
  execFileSync('tar', ['-xzf', path.join(folder, filename), '-C', target, '--strip-components', '1'])
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}\n')
  return built
}
