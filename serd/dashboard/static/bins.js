// A period in intervals of equal length, as counted by the server, with live events added.

export class Bins {
  constructor(since, until, binMs) {
    this.since = since;
    this.until = until;
    this.binMs = binMs;
    this.byStart = new Map();
  }

  static from(answer) {
    const bins = new Bins(answer.since_ms, answer.until_ms, answer.bin_ms);
    for (const bin of answer.bins) bins.byStart.set(bin.start_ms, bin);
    return bins;
  }

  /** Count a new event. */
  add(event) {
    const began = Date.parse(event.started_at);
    if (began < this.since) return;
    const start = this.since + Math.floor((began - this.since) / this.binMs) * this.binMs;
    let bin = this.byStart.get(start);
    if (!bin) {
      bin = { start_ms: start, count: 0, valence: 0, arousal: 0, emotions: {} };
      this.byStart.set(start, bin);
    }
    bin.count += 1;
    bin.valence += (event.valence - bin.valence) / bin.count;
    bin.arousal += (event.arousal - bin.arousal) / bin.count;
    bin.emotions[event.emotion] = (bin.emotions[event.emotion] ?? 0) + 1;
  }

  /** Move the period so that it ends now, dropping what is too old. */
  roll(now) {
    const steps = Math.ceil((now - this.until) / this.binMs);
    if (steps <= 0) return;
    this.since += steps * this.binMs;
    this.until += steps * this.binMs;
    for (const start of this.byStart.keys()) {
      if (start < this.since) this.byStart.delete(start);
    }
  }

  /** The intervals with utterances, in order. */
  list() {
    return [...this.byStart.values()].sort((a, b) => a.start_ms - b.start_ms);
  }

  /** The same period in intervals longer by a factor. */
  coarser(factor) {
    if (factor <= 1) return this;
    const bins = new Bins(this.since, this.until, this.binMs * factor);
    for (const bin of this.byStart.values()) {
      const place = Math.floor((bin.start_ms - this.since) / bins.binMs);
      const start = this.since + place * bins.binMs;
      const one = bins.byStart.get(start) ?? { start_ms: start, count: 0, valence: 0, arousal: 0, emotions: {} };
      one.count += bin.count;
      one.valence += ((bin.valence - one.valence) * bin.count) / one.count;
      one.arousal += ((bin.arousal - one.arousal) * bin.count) / one.count;
      bins.byStart.set(start, one);
    }
    return bins;
  }

  get total() {
    let total = 0;
    for (const bin of this.byStart.values()) total += bin.count;
    return total;
  }
}

/** The emotions of one or more bins, the most frequent first. */
export function frequent(emotions) {
  return Object.entries(emotions).sort((a, b) => b[1] - a[1]);
}
