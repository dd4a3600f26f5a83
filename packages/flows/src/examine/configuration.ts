/** Whether the environment makes a configuration. */
import { type Check, checkOf } from './check.ts'

interface Fault {
  name: string
  message: string
}

/**
 * @param faults what stops a worker or `npm start`
 * @param apiFaults what stops an API process: one need not run where another does
 */
export function judgeConfiguration(faults: readonly Fault[], apiFaults: readonly Fault[]): Check[] {
  const wrong = faults.map(({ name, message }) =>
    checkOf('configuration', name).failed(message, fixOf(name, message)),
  )
  const onlyApi = apiFaults.filter(({ name }) => !faults.some((fault) => fault.name === name))
  const alsoWrong = onlyApi.map(({ name, message }) =>
    checkOf('configuration', name).warning(message, `${fixOf(name, message)} Only API processes need it.`),
  )
  const all = [...wrong, ...alsoWrong]
  return all.length > 0 ? all : [checkOf('configuration').ok('every variable has a value that can be used')]
}

function fixOf(name: string, message: string): string {
  const isMissing = /^(is required|certificate and key must)/.test(message)
  return isMissing
    ? `Set ${name}: docs/configuration.md says to what.`
    : `Correct ${name} or remove it: docs/configuration.md has every variable.`
}
