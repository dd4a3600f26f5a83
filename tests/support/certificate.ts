/** A self-signed certificate for loopback peers, made once per test process (about 50 ms). */
import { generate } from 'selfsigned'

export type Certificate = { key: string; cert: string }

let made: Promise<Certificate> | undefined

/** Valid for localhost, mx.example.test, 127.0.0.1 and ::1; signed by itself, so it verifies only as its own CA. */
export function certificate(): Promise<Certificate> {
  made ??= generate([{ name: 'commonName', value: 'localhost' }], {
    algorithm: 'sha256',
    keyType: 'ec',
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 2, value: 'mx.example.test' },
          { type: 7, ip: '127.0.0.1' },
          { type: 7, ip: '::1' },
        ],
      },
    ],
  }).then(({ private: key, cert }) => ({ key, cert }))
  return made
}
