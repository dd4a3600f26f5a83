/** `valija tls-report`: how TLS goes with receivers; the operator's. */
import { openApiAsOperator, operatorFlags } from '../api-client.ts'
import { command } from '../command.ts'
import { given } from '../flag-values.ts'
import { listFlags, pageQuery, printList } from '../output.ts'

export const tlsReportCommand = command({
  name: 'tls-report',
  summary: 'how TLS goes with receivers, by day, domain and exchanger, the newest day first',
  details:
    'A failure under sts or tlsa is a receiver that does not keep what it promised: mail to it waits. What others report of TLS with you: domain reports.',
  flags: {
    domain: { type: 'string', value: '<domain>', help: 'only the recipients’ at this one' },
    day: { type: 'string', value: '<date>', help: 'only this day, in UTC' },
    ...operatorFlags,
    ...listFlags,
  },
  example: 'tls-report --domain example.com',
  run: async ({ flags }) => {
    const query = { ...given({ domain: flags.domain, day: flags.day }), ...pageQuery(flags) }
    await printList((await openApiAsOperator(flags)).list('GET /tls-report', { query }), flags, {
      day: ({ day }) => day,
      domain: ({ domain }) => domain,
      policy: ({ policy }) => policy,
      exchanger: ({ mx }) => mx,
      result: ({ result }) => result,
      sessions: ({ sessions }) => sessions,
    })
  },
})
