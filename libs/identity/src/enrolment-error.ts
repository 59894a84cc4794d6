/** How far an exchange with an enrolment listener came. `answer`: the registry said so itself. */
export type EnrolmentStage = 'resolve' | 'tcp' | 'tls' | 'http' | 'answer';

/** An exchange failed. The message is one line, names the address and holds no secret. */
export class EnrolmentError extends Error {
  readonly stage: EnrolmentStage;
  /** The code of docs/PROTOCOL.md, "Enrolment"; empty when the registry did not answer. */
  readonly code: string;
  /** One line; may be empty. */
  readonly remedy: string;
  /** Trying again, here or at another address, cannot help. */
  readonly final: boolean;
  /** The registry asked to wait so long; 0 when it did not. */
  readonly retryAfterMs: number;

  constructor(
    message: string,
    options: ErrorOptions & {
      readonly stage: EnrolmentStage;
      readonly code?: string;
      readonly remedy?: string;
      readonly final?: boolean;
      readonly retryAfterMs?: number;
    },
  ) {
    super(message, options);
    this.name = 'EnrolmentError';
    this.stage = options.stage;
    this.code = options.code ?? '';
    this.remedy = options.remedy ?? '';
    this.final = options.final ?? false;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}
