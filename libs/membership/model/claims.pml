/*
 * The claim protocol as an independent description, for Spin: one leaf cluster, one root proxy id with two incarnations
 * (the first may be paused and come back as a zombie), two agents, an etcd with leases, messages that stay in flight.
 *
 *   npm run model        no violation as it stands; with NO_MEMBER_GUARD or NO_TOKEN_GUARD defined Spin finds one
 *
 * Mirrors docs/ARCHITECTURE.md ("Keys in etcd"); nothing here is generated from the code.
 */
#define FLIGHT 3            /* store requests in flight, at most */
#define MAX_REV 9           /* bound on revisions: enough for two registrations and every claim below */
#define NOBODY 0

/* --- the store: two keys, their revisions, one lease per incarnation --- */
byte revision = 1;
byte memberRev = 0;         /* create_revision of the member key = incarnation; 0: no key */
byte claimRev = 0;          /* create_revision of the claim key = fencing token; 0: no key */
byte claimAgent = NOBODY;
byte claimNonce = 0;
byte claimIncarnation = 0;
byte lastToken = 0;         /* for S2: tokens strictly increase */

mtype = { acquire, release };
/* kind, process, incarnation, agent, nonce or token */
chan store = [FLIGHT] of { mtype, byte, byte, byte, byte };

/* --- the two instances of the root proxy, numbered 1 and 2 --- */
byte incarnation[3];        /* as that instance believes */
byte holder[3];             /* agent in its slot */
byte nonce[3];              /* of the grant in its slot */
byte token[3];              /* recorded token; 0: provisional */
byte ownToken[3];           /* token of an older grant that is still to be released; 0: none */
bool waiting[3];            /* a store request of this slot is in flight: operations of a slot are serialised */
bool alive[3];
bool paused[3];
bool sessionOpen[3];        /* the registry sees this instance's session */
byte grants = 0;

/* --- the two agents: the instance each is attached to, the newest incarnation each has seen --- */
byte attached[3];
byte seen[3];

/* S2 and S3: the claim record never belongs to an older incarnation than the member record, and a confirmed grant of
 * the current incarnation is what the store says. */
#define CURRENT(i) (alive[i] && incarnation[i] != 0 && incarnation[i] == memberRev)

inline check() {
  assert(claimRev == 0 || memberRev == 0 || claimIncarnation == memberRev);
  assert(!(CURRENT(1) && CURRENT(2)));
  if
  :: CURRENT(1) && holder[1] != NOBODY && token[1] != 0 -> assert(claimRev == token[1] && claimAgent == holder[1])
  :: else -> skip
  fi;
  if
  :: CURRENT(2) && holder[2] != NOBODY && token[2] != 0 -> assert(claimRev == token[2] && claimAgent == holder[2])
  :: else -> skip
  fi
}

inline dropLease() { memberRev = 0; claimRev = 0; claimAgent = NOBODY; claimNonce = 0; claimIncarnation = 0 }

/* Registration: refused while another instance's session lives; otherwise the older lease is revoked with all its keys. */
proctype Instance(byte me; byte rival) {
  end:
  atomic {
    (!sessionOpen[rival] && revision < MAX_REV);
    dropLease();
    revision++;
    memberRev = revision;
    incarnation[me] = revision;
    alive[me] = true;
    sessionOpen[me] = true;
    check()
  }
endRun:
  do
  /* record the grant in the slot */
  :: atomic { alive[me] && !paused[me] && !waiting[me] && ownToken[me] == 0 && holder[me] != NOBODY && token[me] == 0 && nfull(store) ->
       waiting[me] = true;
       store ! acquire, me, incarnation[me], holder[me], nonce[me] }
  /* release what is recorded but not wanted any more */
  :: atomic { alive[me] && !paused[me] && !waiting[me] && ownToken[me] != 0 && nfull(store) ->
       waiting[me] = true;
       store ! release, me, incarnation[me], NOBODY, ownToken[me] }
  /* the tunnel of the holder ends: the slot is free in the same turn */
  :: atomic { alive[me] && !paused[me] && holder[me] != NOBODY ->
       if
       :: attached[holder[me]] == me -> attached[holder[me]] = 0
       :: else -> skip
       fi;
       if
       :: token[me] != 0 -> ownToken[me] = token[me]
       :: else -> skip
       fi;
       token[me] = 0; holder[me] = NOBODY; nonce[me] = 0;
       check() }
  :: atomic { !alive[me] -> break }
  od
}

/* etcd: takes requests in any order that is in flight, answers the instance if it still listens; or the answer is lost. */
proctype Store() {
  byte who; byte inc; byte agent; byte value;
end:
  do
  :: atomic { store ?? acquire, who, inc, agent, value ->
       if
#ifdef NO_MEMBER_GUARD
       :: claimRev == 0 && revision < MAX_REV ->
#else
       :: claimRev == 0 && memberRev == inc && revision < MAX_REV ->
#endif
            revision++;
            assert(revision > lastToken);
            lastToken = revision;
            claimRev = revision; claimAgent = agent; claimNonce = value; claimIncarnation = inc
       :: else -> skip
       fi;
       /* the answer: granted, refused, or unknown and then asked for by a linearizable Get */
       if
       :: alive[who] && claimRev != 0 && claimIncarnation == inc && claimNonce == value ->
            if
            :: holder[who] == agent && nonce[who] == value -> token[who] = claimRev
            :: else -> ownToken[who] = claimRev     /* the holder left meanwhile: release it */
            fi
       :: else -> skip
       fi;
       waiting[who] = false;
       check() }
  :: atomic { store ?? release, who, inc, agent, value ->
       if
#ifdef NO_TOKEN_GUARD
       :: claimRev != 0 ->
#else
       :: claimRev == value && claimRev != 0 ->
#endif
            claimRev = 0; claimAgent = NOBODY; claimNonce = 0; claimIncarnation = 0
       :: else -> skip
       fi;
       ownToken[who] = 0; waiting[who] = false;
       check() }
  od
}

/* An agent attaches to a live instance; the slot is granted synchronously in memory. It refuses an older incarnation. */
proctype Agent(byte me) {
  byte i;
end:
  do
  :: atomic { attached[me] == 0 && grants < 4 ->
       if
       :: i = 1
       :: i = 2
       fi;
       if
       :: alive[i] && !paused[i] && holder[i] == NOBODY && incarnation[i] >= seen[me] && incarnation[i] != 0 ->
            assert(holder[i] == NOBODY);
            seen[me] = incarnation[i];
            attached[me] = i; holder[i] = me;
            grants++; nonce[i] = grants; token[i] = 0
       :: else -> skip
       fi }
  :: atomic { grants >= 4 -> break }
  od
}

/* One expiry, one pause with its resume, one crash, at any moment. */
proctype Faults() {
end:
  atomic { (alive[1]) -> paused[1] = true; sessionOpen[1] = false }
  if
  :: atomic { dropLease(); revision = revision + (revision < MAX_REV -> 1 : 0) }   /* the lease expires */
  :: skip
  fi;
  atomic { paused[1] = false }                    /* the zombie resumes, with all it believed */
  if
  :: atomic { alive[1] = false; holder[1] = NOBODY;                               /* or dies at last */
       if
       :: attached[1] == 1 -> attached[1] = 0
       :: else -> skip
       fi;
       if
       :: attached[2] == 1 -> attached[2] = 0
       :: else -> skip
       fi }
  :: skip
  fi
}

init {
  atomic {
    run Store();
    run Instance(1, 2);
    run Instance(2, 1);
    run Agent(1);
    run Agent(2);
    run Faults()
  }
}
