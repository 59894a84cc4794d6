/** What the shell of a `RenewalSchedule` tells it. Spans of time are in milliseconds and count from this event. */
export type RenewalEvent =
  /**
   * A certificate is in use now: loaded at start, or the answer to a join or renewal. `lifetimeMs` is from its issue to its
   * end, without the minutes by which certificates start earlier; `remainingMs` is what is left of it, 0 or less when it is
   * over.
   */
  | { readonly type: 'certificateTaken'; readonly lifetimeMs: number; readonly remainingMs: number }
  /** The answer to `renew`: no certificate, but there may be one later. `retryAfterMs`: the server asked to wait so long. */
  | { readonly type: 'renewalFailed'; readonly detail: string; readonly retryAfterMs?: number }
  /** The answer to `renew`: there will be none (locked, revoked, refused). */
  | { readonly type: 'renewalRefused'; readonly detail: string }
  /** Somebody says that what is trusted has changed. It carries no authority: it only makes the renewal earlier. */
  | { readonly type: 'renewalAdvised' }
  /** The wall clock was set: by it so much is left of the certificate in use. */
  | { readonly type: 'clockSet'; readonly remainingMs: number }
  | { readonly type: 'timeout' };

/** What the shell must do, in the order polled. */
export type RenewalEffect =
  /**
   * Ask for a new certificate. Answered by exactly one of `certificateTaken`, `renewalFailed` and `renewalRefused`, within
   * the shell's own deadline. `attempt` counts from 1 with each certificate.
   */
  | { readonly type: 'renew'; readonly attempt: number }
  /** Two thirds of the lifetime are over, or the renewal was refused: once for each certificate. */
  | { readonly type: 'raiseAlarm'; readonly remainingMs: number; readonly detail: string }
  /** There is a new certificate after an alarm. */
  | { readonly type: 'clearAlarm' }
  /** The certificate has ended. Connections have the grace of ARCHITECTURE.md, new ones cannot be made. */
  | { readonly type: 'reportExpiry' };

/** Times in milliseconds. */
export interface RenewalConfig {
  /** Width of the window round half life in which the renewal falls, as a share of the lifetime. Default 0.1. */
  readonly jitter: number;
  /** First and greatest ceiling of the pause after a failure, doubling, full jitter. Defaults 500, 30_000. */
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** Advised renewals are spread over so long, at most a tenth of the lifetime. Default 5_000. */
  readonly adviceSpreadMs: number;
  /** Least time between an issue and an advised renewal: a liar cannot keep us busy. Default 10_000, at most a tenth. */
  readonly adviceRestMs: number;
}

export const DEFAULT_RENEWAL_CONFIG: RenewalConfig = {
  jitter: 0.1,
  retryMinMs: 500,
  retryMaxMs: 30_000,
  adviceSpreadMs: 5_000,
  adviceRestMs: 10_000,
};

export type RenewalState =
  /** No certificate was taken yet. */
  | 'idle'
  /** A certificate is in use; its renewal is not due. */
  | 'fresh'
  /** A renewal is under way. */
  | 'renewing'
  /** The last attempt failed; the next one is due at `nextTimeout`. */
  | 'waiting'
  /** Refused for good; the certificate is used to its end. */
  | 'refused'
  /** Over. Only a new join helps. */
  | 'expired';

/** Read-only: logs, metrics, `xylem doctor`. */
export interface RenewalStatus {
  readonly state: RenewalState;
  /** 0 without a certificate in use. */
  readonly remainingMs: number;
  /** Until the next attempt; undefined when none is planned. */
  readonly nextAttemptMs: number | undefined;
  /** Failures in a row for this certificate. */
  readonly failures: number;
  readonly alarmed: boolean;
  /** Why the last attempt failed or was refused; empty when none did. */
  readonly detail: string;
}
