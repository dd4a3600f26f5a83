/** The thread of parse-mime-apart.ts: takes the mail apart that it was started with, and says what it is made of. */
import { Buffer } from 'node:buffer'
import { parentPort, workerData } from 'node:worker_threads'
import { parseMime } from './parse-mime.ts'

parentPort?.postMessage(await parseMime(Buffer.from(workerData as Uint8Array)))
