import { expect, test } from 'vitest'
import { createKeptTemplates, keptLimits } from './kept-templates.ts'
import type { TemplateBundle } from './render-job.ts'

const bundle = (key: string, html: string): TemplateBundle => ({
  key,
  root: { kind: 'template', slug: 't', subject: null, text: null, html },
  parts: [],
})
const dense = '{{a}}'.repeat(4_000)

test('what is kept is bounded by its weight, and a tenant has its share', () => {
  const kept = createKeptTemplates()
  const others = kept.get('other', bundle('others', 'x'))
  for (let i = 0; i < 6; i++) kept.get('dense', bundle(`dense ${i}`, dense))
  expect(kept.bytes).toBeGreaterThan(keptLimits.ofTenant / 2)
  expect(kept.bytes).toBeLessThan(keptLimits.ofTenant + 100_000)
  expect(kept.get('other', bundle('others', 'x'))).toBe(others)
  for (let i = 0; i < 9; i++) kept.get(`t${i}`, bundle(`t${i}`, dense))
  expect(kept.bytes).toBeLessThanOrEqual(keptLimits.total)
  expect(kept.get('other', bundle('others', 'x'))).not.toBe(others)
})

test('one that is heavier than a share is kept until another one is parsed', () => {
  const kept = createKeptTemplates()
  const heavy = () => kept.get('a', bundle('heavy', '{{a}}'.repeat(20_000)))
  const first = heavy()
  expect(heavy()).toBe(first)
  kept.get('b', bundle('light', 'x'))
  expect(kept.bytes).toBeLessThan(100_000)
})
