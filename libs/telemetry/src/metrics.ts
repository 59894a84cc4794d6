import type { Meter } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import type { Resource } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import type { MetricDefinition } from './names.ts';

export type Labels<Label extends string> = Readonly<Record<Label, string>>;

/** A plain number: adding costs an addition, also on the frame path. */
export interface Counter {
  add(amount?: number): void;
}

/** A plain number that goes up and down. */
export interface Level {
  set(value: number): void;
  add(amount: number): void;
}

export interface Histogram {
  record(value: number): void;
}

export interface Sample<Label extends string> {
  readonly labels: Labels<Label>;
  readonly value: number;
}

export interface Metrics {
  /** The counter of these labels; the same object for the same labels. Look it up once and keep it. */
  counter<Label extends string>(definition: MetricDefinition<Label>, ...labels: LabelArguments<Label>): Counter;
  level<Label extends string>(definition: MetricDefinition<Label>, ...labels: LabelArguments<Label>): Level;
  histogram<Label extends string>(definition: MetricDefinition<Label>, ...labels: LabelArguments<Label>): Histogram;
  /**
   * Reads a value that lives elsewhere at each scrape: one number, or samples when the metric has labels. A metric is
   * either observed or counted, not both.
   */
  observe<Label extends string>(
    definition: MetricDefinition<Label>,
    read: () => number | readonly Sample<Label>[],
  ): void;
  /** Prometheus text exposition format 0.0.4. */
  render(): Promise<string>;
  shutdown(): Promise<void>;
}

/** Metrics without labels take no second argument. */
export type LabelArguments<Label extends string> = [Label] extends [never] ? [] : [labels: Labels<Label>];

/** Series per metric. Label values that come from outside can be many; the rest is counted together under `other`. */
export const SERIES_LIMIT = 200;
const OVERFLOW = 'other';
/** Seconds: 1 ms to 30 s, where dials, pings and store operations lie. */
const SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  value: number;
}

interface Family {
  readonly series: Map<string, Series>;
  readonly readers: (() => number | readonly Sample<string>[])[];
  readonly record: (value: number, labels: Readonly<Record<string, string>>) => void;
}

export function createMetrics(resource: Resource): Metrics {
  return new PlainMetrics(resource);
}

class PlainMetrics implements Metrics {
  readonly #exporter = new PrometheusExporter({ preventServerStart: true });
  readonly #serializer = new PrometheusSerializer(undefined, false, undefined, false, true);
  readonly #provider: MeterProvider;
  readonly #meter: Meter;
  readonly #families = new Map<string, Family>();

  constructor(resource: Resource) {
    this.#provider = new MeterProvider({ resource, readers: [this.#exporter] });
    this.#meter = this.#provider.getMeter('xylem');
  }

  counter<Label extends string>(definition: MetricDefinition<Label>, ...labels: LabelArguments<Label>): Counter {
    const series = seriesOf(this.#family(definition), definition, labels[0]);
    return { add: (amount = 1) => void (series.value += amount) };
  }

  level<Label extends string>(definition: MetricDefinition<Label>, ...labels: LabelArguments<Label>): Level {
    const series = seriesOf(this.#family(definition), definition, labels[0]);
    return { set: (value) => void (series.value = value), add: (amount) => void (series.value += amount) };
  }

  histogram<Label extends string>(definition: MetricDefinition<Label>, ...labels: LabelArguments<Label>): Histogram {
    const family = this.#family(definition);
    const series = seriesOf(family, definition, labels[0]);
    return { record: (value) => family.record(value, series.labels) };
  }

  observe<Label extends string>(
    definition: MetricDefinition<Label>,
    read: () => number | readonly Sample<Label>[],
  ): void {
    this.#family(definition).readers.push(read);
  }

  async render(): Promise<string> {
    const { resourceMetrics } = await this.#exporter.collect();
    return this.#serializer.serialize(resourceMetrics);
  }

  async shutdown(): Promise<void> {
    await this.#provider.shutdown();
  }

  #family(definition: MetricDefinition): Family {
    const known = this.#families.get(definition.name);
    if (known !== undefined) return known;
    const family = this.#register(definition);
    this.#families.set(definition.name, family);
    return family;
  }

  #register({ name, kind, help }: MetricDefinition): Family {
    const series = new Map<string, Series>();
    const readers: Family['readers'] = [];
    if (kind === 'histogram') {
      const histogram = this.#meter.createHistogram(name, {
        description: help,
        advice: { explicitBucketBoundaries: SECONDS_BUCKETS },
      });
      return { series, readers, record: (value, labels) => histogram.record(value, labels) };
    }
    const instrument =
      kind === 'counter'
        ? this.#meter.createObservableCounter(name, { description: help })
        : this.#meter.createObservableGauge(name, { description: help });
    const observed = new Map<string, Series>();
    instrument.addCallback((result) => {
      for (const { labels, value } of collect(series, observed, readers)) result.observe(value, labels);
    });
    return {
      series,
      readers,
      record: () => {
        throw new TypeError(`${name} is not a histogram`);
      },
    };
  }
}

/** Cells and what the readers tell as one bounded list, sorted by labels. A series that was observed once stays, as 0. */
function collect(
  cells: ReadonlyMap<string, Series>,
  observed: Map<string, Series>,
  readers: Family['readers'],
): readonly Series[] {
  for (const series of observed.values()) series.value = 0;
  for (const read of readers) {
    const samples = read();
    const list = typeof samples === 'number' ? [{ labels: {}, value: samples }] : samples;
    for (const sample of list) bounded(observed, sample.labels).value += sample.value;
  }
  const all = new Map([...cells, ...observed]);
  return [...all.keys()].toSorted().flatMap((key) => all.get(key) ?? []);
}

function seriesOf(
  family: Family,
  definition: MetricDefinition,
  labels: Readonly<Record<string, string>> | undefined,
): Series {
  return bounded(family.series, Object.fromEntries(definition.labels.map((label) => [label, labels?.[label] ?? ''])));
}

/** The series of these labels; past the limit, the one where every label is `other`. */
function bounded(series: Map<string, Series>, labels: Readonly<Record<string, string>>): Series {
  const key = JSON.stringify(Object.values(labels));
  const known = series.get(key);
  if (known !== undefined) return known;
  const names = Object.keys(labels);
  if (series.size >= SERIES_LIMIT && names.some((name) => labels[name] !== OVERFLOW)) {
    return bounded(series, Object.fromEntries(names.map((name) => [name, OVERFLOW])));
  }
  const made = { labels, value: 0 };
  series.set(key, made);
  return made;
}
