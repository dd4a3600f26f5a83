/**
 * Writes packages/core/src/rules/*.json from the YAML beside them, which people edit and nothing reads at a start; with `--check` it
 * fails when one of them is stale. YAML that the product could not use is refused, with its line.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readReplyRules, readThrottlePolicy, readYamlFile, shippedFiles } from '@valija/core'
import { repositoryRoot } from './source-tree.ts'
import { settleGenerated } from './step.ts'

const folder = 'packages/core/src/rules'

/** @throws when the YAML is not rules, with the line */
export async function rulesJson(name: (typeof shippedFiles)[number], yaml: string): Promise<string> {
  const file = await readYamlFile(`${folder}/${name}.yaml`, yaml)
  if (name === 'shaping') readThrottlePolicy([file])
  else readReplyRules(file)
  const origin = `Made from ${name}.yaml by tools/generate-rules.ts, not to be changed by hand. The notices of ${name}.yaml hold for it.`
  return `${JSON.stringify({ origin, content: file.content }, null, 1)}\n`
}

if (import.meta.main) {
  for (const name of shippedFiles) {
    const yaml = readFileSync(join(repositoryRoot, folder, `${name}.yaml`), 'utf8')
    settleGenerated(`${folder}/${name}.json`, await rulesJson(name, yaml), 'node tools/generate-rules.ts')
  }
}
