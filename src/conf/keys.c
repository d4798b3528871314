#include "conf/keys.h"

#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/rule_section.h"
#include "conf/source.h"
#include "conf/units.h"

#define SETTING(field)     offsetof(struct conf, field), sizeof(((struct conf *)0)->field)
#define OF_GREYLIST(field) offsetof(struct conf, greylist.field), sizeof(((struct conf *)0)->greylist.field)
#define OF_GUARD(field)    offsetof(struct conf, guard.field), sizeof(((struct conf *)0)->guard.field)
#define OF_RULE(field)     offsetof(struct rule, field), sizeof(((struct rule *)0)->field)
#define BY_ITS_OWN         0, 0
#define ANY_NUMBER         0, UINT32_MAX - 1
#define UP_TO(most)        0, (most)
#define NO_RANGE           0, 0
#define DAYS(count)        ((count)*UINT64_C(86400000))

const struct key keys[] = {
    /* ---- settings ---- */
    {"", "protected", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Networks of our servers, in CIDR: 192.0.2.0/24, 2001:db8::/32, or `file:PATH`. A session to one of them is "
     "inbound, one from it outbound. Where none is named, every session is inbound."},
    {"", "balancers", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Networks of load balancers that begin each connection with a PROXY header (HAProxy: `send-proxy`, "
     "`send-proxy-v2`), in CIDR, or `file:PATH`. The client that the header tells is the one that rules and the "
     "greylist see, and that events have as `client_ip`. The servers behind must expect the header. What others "
     "send as one tells nothing: version 1 passes, version 2 is the anomaly `proxy-header`."},
    {"", "ports", KEY_LIST, "{25, 587, 2525}", NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "A connection to one of these TCP ports is SMTP. The rules of the kernel must send the same ports to the queues: "
     "`postern setup -r` takes them from here. Not changed by a reload."},
    {"", "tls-ports", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "TCP ports of `ports`, or besides them, on which TLS begins with the first octet (465). Nothing is read there but "
     "the handshake, and no rule holds but those with `on = connect`; the connection leaves the queue behind it. Not "
     "changed by a reload."},
    {"", "tls-handshakes", KEY_CHOICE, "yes", NO_RANGE, NULL, SETTING(engine.handshakes), 0, NARROWS_NOT,
     "The handshake of a session that encrypts is read in passing, and told in its record (`tls` in docs/events.md): "
     "version, cipher, the name that the client asked for, its fingerprint. The octets leave as they come. With no, a "
     "session is let go as soon as it encrypts. Not changed by a reload."},
    {"", "strip", KEY_LIST, "{XEXCH50, X-LINK2STATE}", NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "EHLO keywords that neither side of the gateway sees of the other, where no rule decides otherwise. A client that "
     "all the same uses what such a keyword offers (STARTTLS, AUTH, ETRN, VRFY, XEXCH50; CHUNKING: BDAT) is refused in "
     "the server's name."},
    {"", "dry-run", KEY_CHOICE, "no", NO_RANGE, NULL, SETTING(policy.dry_run), 0, NARROWS_NOT,
     "Change nothing, and report what would have happened (events of the types `rule` and `greylist` with "
     "`dry_run`). The greylist learns. Octets "
     "that are sent again as others leave as those of the first time all the same (event `resend-differs`)."},
    {"", "line-hold", KEY_DURATION, "30ms", 1, 10000, NULL, SETTING(engine.line_hold_ms), 1, NARROWS_NOT,
     "How long the beginning of a line may wait for its rest before it goes on. Not changed by a reload."},
    {"", "order-hold", KEY_DURATION, "3s", 1, 60000, NULL, SETTING(engine.order_hold_ms), 1, NARROWS_NOT,
     "How long a segment that came too early may wait for the one before it. Not changed by a reload."},
    {"", "ask-hold", KEY_DURATION, "500ms", 10, 10000, NULL, SETTING(engine.ask_hold_ms), 1, NARROWS_NOT,
     "How long a line waits for the greylist's store to answer; then on-lost-store holds. And how long it waits for a "
     "client's name; then rules with `client-name` do not hold. Not changed by a reload."},
    {"", "idle-timeout", KEY_DURATION, "1h", 660000, DAYS(5), NULL, SETTING(engine.idle_s), 1000, NARROWS_NOT,
     "How long a connection is followed after its last packet. A client may be silent for ten minutes (RFC 5321 "
     "4.5.3.2.6). Not changed by a reload."},
    {"", "offset-timeout", KEY_DURATION, "5d", 660000, DAYS(30), NULL, SETTING(engine.offset_idle_s), 1000, NARROWS_NOT,
     "The same of a connection that had a line taken out, which nobody else can translate: as long as conntrack keeps "
     "its entry (nf_conntrack_tcp_timeout_established). Not changed by a reload."},
    {"", "events", KEY_TEXT, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Where `postern run` writes events, as lines of JSON: the path of a file, or `syslog:`. The option -e goes before "
     "it. Not changed by a reload."},
    {"", "event-types", KEY_LIST,
     "{anomaly, rule, greylist, tarpit, guard, resend-differs, unedited, smtp, smtp-session}", NO_RANGE, NULL,
     BY_ITS_OWN, 0, NARROWS_NOT,
     "Which types of lines are written of what happens, by the names of docs/events.md. `dialogue` stands for those "
     "that show sessions line by line (flow-start, command, reply, payload, tls, flow-end), `all` for every type. "
     "`postern track` and `postern report` read smtp, smtp-session, greylist, rule, anomaly and unedited. `postern "
     "replay` writes all. Not changed by a reload."},
    {"", "flows", KEY_NUMBER, "65536", 16, 16777216, NULL, SETTING(engine.flows_max), 0, NARROWS_NOT,
     "Connections followed at once; beyond, the one that needs us least makes room. Not changed by a reload."},
    {"", "flow-memory", KEY_SIZE, "1M", 32768, UINT64_C(1) << 30, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Octets kept of one direction of a connection until they are acknowledged; the window that is advertised never "
     "asks for more. Not changed by a reload."},
    {"", "memory", KEY_SIZE, "64M", UINT64_C(1) << 20, UINT64_C(1) << 36, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "The same of all connections together. Not changed by a reload."},
    {"", "held-packets", KEY_NUMBER, "8192", 16, 1048576, NULL, SETTING(engine.held_max), 0, NARROWS_NOT,
     "Packets that may wait for their verdict at once. Not changed by a reload."},
    {"", "network-share", KEY_NUMBER, "25", 1, 100, NULL, SETTING(engine.network_percent), 0, NARROWS_NOT,
     "Percent of each of these, and of all else that connections share (docs/overload.md), that the connections of one "
     "client network may have. What makes a network is said by `ipv4-prefix` and `ipv6-prefix` of the section "
     "greylist. Not changed by a reload."},
    {"", "queue-length", KEY_NUMBER, "65536", 32, 4194304, NULL, SETTING(queue_length), 0, NARROWS_NOT,
     "Packets that the kernel keeps in each queue until their verdict, those that wait included; beyond, it drops what "
     "comes, and senders send it again. Not changed by a reload."},
    {"", "queue-buffer", KEY_SIZE, "64M", 65536, UINT64_C(1) << 30, NULL, SETTING(queue_buffer), 0, NARROWS_NOT,
     "Memory of the kernel, for each worker, for packets that it has not read yet; beyond, the kernel drops them, and "
     "senders send them again. Not changed by a reload."},
    {"", "strip-mptcp", KEY_CHOICE, "no", NO_RANGE, NULL, SETTING(engine.strip_mptcp), 0, NARROWS_NOT,
     "MPTCP spreads a connection over several paths, of which this gateway sees one: such a connection passes "
     "unedited. With yes, the offer is taken out of SYNs, and the connection becomes an ordinary one. Not changed by a "
     "reload."},
    {"", "liberal-conntrack", KEY_CHOICE, "no", NO_RANGE, NULL, SETTING(engine.liberal_conntrack), 0, NARROWS_NOT,
     "A reply of the filter's own may take no more room than the server's, and what was saved before it: a strict "
     "conntrack calls the acknowledgments of a stream that grew INVALID. Say yes only where "
     "net.netfilter.nf_conntrack_tcp_be_liberal=1. Not changed by a reload."},
    {"", "on-lost-pairing", KEY_WORD, "close", NO_RANGE, "close pass reset", BY_ITS_OWN, 0, NARROWS_NOT,
     "What happens to a session behind something that leaves nobody able to say which reply answers which command (the "
     "anomalies of that kind are listed below): it ends where a rule, a keyword to be stripped, the greylist or the "
     "guard could still act, and passes unedited where none could; it passes; or it is reset."},
    {"", "on-lost-store", KEY_WORD, "pass", NO_RANGE, "pass defer", BY_ITS_OWN, 0, NARROWS_NOT,
     "What happens to mail that the greylist is to decide about while its store gives no answer."},
    {"", "on-overload", KEY_WORD, "drop", NO_RANGE, "drop pass", BY_ITS_OWN, 0, NARROWS_NOT,
     "Where memory for octets runs out, or places for connections: packets are dropped, and sent again by their "
     "senders, so nothing passes unread; or the connection passes unedited from there on, still translated where it "
     "has an offset. Not changed by a reload."},
    {"", "store", KEY_TEXT, CONF_STORE_DEFAULT, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Where the greylist remembers, and the guard counts: sqlite:FOLDER, made where it is missing; "
     "redis://[:PASSWORD@]HOST[:PORT][/DB], for several gateways that share what they know, or rediss://, "
     "redis+unix://, redis+sentinel:// (see docs/store.md); memory:, gone with the process. For the guard alone only a "
     "shared one is opened. Not changed by a reload."},
    /* ---- greylist ---- */
    {"greylist", "delay", KEY_DURATION, "5m", 1000, DAYS(2), NULL, OF_GREYLIST(delay_s), 1000, NARROWS_NOT,
     "A retry passes so long after the first attempt; the time that its refusals took does not count."},
    {"greylist", "hung-up-delay", KEY_DURATION, "1h", 1000, DAYS(2), NULL, OF_GREYLIST(hung_up_delay_s), 1000,
     NARROWS_NOT, "The same for a client that hung up on its last refusal, instead of waiting for it."},
    {"greylist", "retry-window", KEY_DURATION, "2d", 60000, DAYS(60), NULL, OF_GREYLIST(retry_window_s), 1000,
     NARROWS_NOT, "So long after the last attempt the next one counts as a first one."},
    {"greylist", "lifetime", KEY_DURATION, "36d", 60000, DAYS(1000), NULL, OF_GREYLIST(lifetime_s), 1000, NARROWS_NOT,
     "So long after its last mail, the same sender from the same network to the same recipient passes at once."},
    {"greylist", "client-passes", KEY_NUMBER, "5", 0, 10000, NULL, OF_GREYLIST(client_passes), 0, NARROWS_NOT,
     "After so many mails a client's network passes at once, whoever sends; 0: never."},
    {"greylist", "client-lifetime", KEY_DURATION, "36d", 60000, DAYS(1000), NULL, OF_GREYLIST(client_lifetime_s), 1000,
     NARROWS_NOT, "For so long, counted from its last mail."},
    {"greylist", "pass-spacing", KEY_DURATION, "1h", 0, DAYS(2), NULL, OF_GREYLIST(pass_spacing_s), 1000, NARROWS_NOT,
     "Of mails of a network within so long, one counts for client-passes."},
    {"greylist", "answer-lifetime", KEY_DURATION, "7d", 0, DAYS(365), NULL, OF_GREYLIST(answer_lifetime_s), 1000,
     NARROWS_NOT, "So long after mail of ours to an address or a server its answer passes at once; 0: it does not."},
    {"greylist", "refused-lifetime", KEY_DURATION, "1d", 1000, DAYS(30), NULL, OF_GREYLIST(refused_lifetime_s), 1000,
     NARROWS_NOT,
     "So long after a mail was cut for what it contains (`action = refuse` on file-name, line, message) its next "
     "attempts are refused at RCPT."},
    {"greylist", "stutter", KEY_DURATION, "30s", 0, 240000, NULL, OF_GREYLIST(stutter_ms), 1, NARROWS_NOT,
     "How long a refusal takes to leave, where the rule has no delay of its own: who waits proves patience."},
    {"greylist", "patience-attempts", KEY_NUMBER, "3", 0, 100, NULL, OF_GREYLIST(patience.attempts), 0, NARROWS_NOT,
     "So many refusals read to their end pass before the delay is over; 0: patience is of no use."},
    {"greylist", "patience-wait", KEY_DURATION, "20s", 0, 240000, NULL, OF_GREYLIST(patience.wait_ms), 1, NARROWS_NOT,
     "The least time that a client must wait for a delayed refusal for it to count."},
    {"greylist", "patience-total", KEY_DURATION, "75s", 0, 3600000, NULL, OF_GREYLIST(patience.total_ms), 1,
     NARROWS_NOT, "And all of them together."},
    {"greylist", "patience-uneven", KEY_NUMBER, "3", 1, 1000, NULL, OF_GREYLIST(patience.uneven_times), 0, NARROWS_NOT,
     "The longest time from one to the next is at most so many times the shortest."},
    {"greylist", "patience-at-once", KEY_NUMBER, "3", 1, 100, NULL, OF_GREYLIST(patience.at_once), 0, NARROWS_NOT,
     "And so many of the same mail, on average, are waited for at the same time: spam comes in parallel."},
    {"greylist", "ipv4-prefix", KEY_NUMBER, "24", 8, 32, NULL, OF_GREYLIST(prefix_v4), 0, NARROWS_NOT,
     "Bits of an IPv4 address that make a client's network."},
    {"greylist", "ipv6-prefix", KEY_NUMBER, "64", 16, 128, NULL, OF_GREYLIST(prefix_v6), 0, NARROWS_NOT,
     "The same of IPv6."},
    {"greylist", "pools", KEY_CHOICE, "yes", NO_RANGE, NULL, OF_GREYLIST(pools), 0, NARROWS_NOT,
     "A retry may come from another network with the same EHLO domain, which mail from there has borne out before: "
     "large senders have many."},
    {"greylist", "keep-addresses", KEY_CHOICE, "no", NO_RANGE, NULL, SETTING(keep_addresses), 0, NARROWS_NOT,
     "Keep addresses in clear beside their hashes, for `postern greylist list` to show. Otherwise nobody who reads the "
     "store learns who writes to whom."},
    {"greylist", "exempt-clients", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Networks that are never greylisted, in CIDR, or `file:PATH`."},
    {"greylist", "exempt-senders", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Senders that never are: addresses and domains, as in rules."},
    {"greylist", "exempt-recipients", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Recipients for whom nobody is. `postmaster` without a domain never is (RFC 5321 4.5.1)."},
    /* ---- greylist "NAME" ---- */
    {VARIANT_SECTION, "delay", KEY_DURATION, NULL, 1000, DAYS(2), NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "As in `greylist { }`, for mail that a rule with `greylist = \"NAME\"` asks about; where it is not said, as "
     "there. So are the next ones. The section stands before the rule; all sections have one memory."},
    {VARIANT_SECTION, "hung-up-delay", KEY_DURATION, NULL, 1000, DAYS(2), NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "The same for a client that hung up on its last refusal."},
    {VARIANT_SECTION, "stutter", KEY_DURATION, NULL, 1, 240000, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "How long a refusal takes to leave, where the rule has no `stutter` of its own."},
    {VARIANT_SECTION, "code", KEY_NUMBER, NULL, 400, 499, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "The refusal's code for recipients, where the rule has none."},
    {VARIANT_SECTION, "text", KEY_TEXT, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "And its text, for example the page that tells the customer's correspondents why."},
    {VARIANT_SECTION, "opt-out", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Recipients who do not want it: addresses, domains, `file:PATH`. Their mail passes (`exempt-recipient`)."},
    /* ---- guard ---- */
    {"guard", "servers", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Networks of our servers that lose mail which a greylist outside puts off (Exchange 2000 and 2003, the SMTP "
     "service of Windows 2003), in CIDR, or `file:PATH`. Without the section nothing is guarded."},
    {"guard", "except-peers", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Networks of servers outside whose replies are left as they are."},
    {"guard", "marks", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "What the text of a reply 4xx to MAIL, RCPT or the message looks like where a greylist says it: patterns, "
     "expressions, or `file:PATH`; `file:greylist-marks` ships."},
    {"guard", "except-marks", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "Texts that are no greylist's though they match, written like `marks`."},
    {"guard", "delay", KEY_DURATION, "110s", 1000, 240000, NULL, OF_GUARD(delay_ms), 1, NARROWS_NOT,
     "So much later such a reply reaches our server, once in a transaction. RFC 5321 4.5.3.2 gives it five minutes."},
    {"guard", "attempts", KEY_NUMBER, "4", 2, 100, NULL, OF_GUARD(attempts), 0, NARROWS_NOT,
     "Attempts of our server before it may lose the mail, the first one included."},
    {"guard", "retry-gap", KEY_DURATION, "5m", 1000, DAYS(1), NULL, OF_GUARD(retry_gap_s), 1000, NARROWS_NOT,
     "An attempt so long behind a refusal, or longer, is no such retry: it comes from the server's queue, and counts "
     "as a first one."},
    /* ---- rules ---- */
    {"rule", "on", KEY_WORD, NULL, NO_RANGE,
     "connect greeting ehlo-keyword command argument sender recipient starttls reply line file-name message anomaly",
     BY_ITS_OWN, 0, NARROWS_NOT, "The moment of a session at which the rule looks; see the table of moments."},
    {"rule", "match", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_LIST,
     "What it looks for; see the table of moments. Empty: everything, except with command and anomaly."},
    {"rule", "except", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_EXCEPT,
     "What it does not mean, written like `match`."},
    {"rule", "verb", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_LIST,
     "With argument: only of these commands. With reply: only of replies to these, among them connect, end-of-data, "
     "bdat-last."},
    {"rule", "client", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_LIST,
     "Networks that the client must be in, in CIDR, or `file:PATH`."},
    {"rule", "except-client", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_EXCEPT,
     "Networks that it must not be in."},
    {"rule", "server", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_LIST,
     "Networks that the server must be in."},
    {"rule", "except-server", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_EXCEPT,
     "Networks that it must not be in."},
    {"rule", "peer", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_LIST,
     "Networks that the end outside must be in: the client of an inbound session, the server of an outbound one."},
    {"rule", "except-peer", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_EXCEPT,
     "Networks that it must not be in."},
    {"rule", "helo", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_LIST,
     "The name that the client gave last in EHLO, HELO or LHLO, and the server took: patterns, expressions, or "
     "`file:PATH`. What follows such a command waits for its reply. Not with connect and greeting. Any client can give "
     "any name. At most 16 rules may have it."},
    {"rule", "client-name", KEY_LIST, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_LIST,
     "The client's name in the DNS, which counts where it has the client's address, too: `example.net` (and all below "
     "it), `.example.net` (only below), patterns, expressions, `file:PATH`. It is asked once the client has completed "
     "the handshake, unless a protected server begins it; RCPT and STARTTLS wait for it as long as `ask-hold` says. "
     "Until it is known, or where there is none, the rule does not hold. Not with connect and greeting. At most 16 "
     "rules may have it."},
    {"rule", "direction", KEY_WORD, NULL, NO_RANGE, "any inbound outbound internal", BY_ITS_OWN, 0, NARROWS_WORD,
     "To a protected server, from one, or both."},
    {"rule", "client-known", KEY_WORD, NULL, NO_RANGE, "either yes no", OF_RULE(known), 0, NARROWS_WORD,
     "Whether the greylist knows the client's network."},
    {"rule", "authenticated", KEY_WORD, NULL, NO_RANGE, "either yes no", OF_RULE(authenticated), 0, NARROWS_WORD,
     "Whether AUTH was accepted in this session."},
    {"rule", "early-talker", KEY_WORD, NULL, NO_RANGE, "either yes no", OF_RULE(early_talker), 0, NARROWS_WORD,
     "Whether the client spoke before the greeting."},
    {"rule", "after", KEY_NUMBER, NULL, ANY_NUMBER, NULL, OF_RULE(after), 0, NARROWS_LIMIT,
     "Only once the client has read more than so many replies 4xx and 5xx in this session."},
    {"rule", "refused-over", KEY_NUMBER, NULL, ANY_NUMBER, NULL, OF_RULE(refused_over), 0, NARROWS_LIMIT,
     "The same, counting replies to RCPT only."},
    {"rule", "commands-over", KEY_NUMBER, NULL, ANY_NUMBER, NULL, OF_RULE(commands_over), 0, NARROWS_LIMIT,
     "Only from the command on that is more than so many of this session."},
    {"rule", "recipients-over", KEY_NUMBER, NULL, ANY_NUMBER, NULL, OF_RULE(recipients_over), 0, NARROWS_LIMIT,
     "Only from the recipient on that is more than so many of this transaction; those that were refused do not count. "
     "With action = refuse, PIPELINING is stripped: servers hang up on many errors in a group."},
    {"rule", "length-over", KEY_NUMBER, NULL, ANY_NUMBER, NULL, OF_RULE(length_over), 0, NARROWS_LIMIT,
     "Only where what is looked at has more octets: a command or a reply line with its line end; an argument, address, "
     "keyword, file name; a line of a message without its line end."},
    {"rule", "size-over", KEY_SIZE, NULL, 0, UINT64_MAX - 1, NULL, OF_RULE(size_over), 0, NARROWS_LIMIT,
     "With message: only where it has more octets."},
    {"rule", "part", KEY_WORD, NULL, NO_RANGE, "any header body", OF_RULE(part), 0, NARROWS_WORD,
     "With line: header lines (of the message and of its MIME parts), or those of bodies."},
    {"rule", "action", KEY_WORD, NULL, NO_RANGE, "pass strip refuse close reset tarpit greylist mark log", BY_ITS_OWN,
     0, NARROWS_NOT,
     "What then happens; see the table of actions. `refuse` with on = file-name, line, message cuts the connection "
     "before the server has the whole message; the next attempt of the same mail draws `code` and `text` at RCPT: "
     "see docs/rules.md."},
    {"rule", "code", KEY_NUMBER, NULL, 400, 599, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "With refuse and greylist: the reply's code. With on = file-name, line, message one from 500 to 599."},
    {"rule", "text", KEY_TEXT, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "With refuse, close and greylist: the reply's text. The first digit of its enhanced code is that of the code. "
     "Shortened where there is no room."},
    {"rule", "method", KEY_WORD, NULL, NO_RANGE, "void spoil", BY_ITS_OWN, 0, NARROWS_NOT,
     "With on = recipient and action = refuse or greylist: spoil refuses this recipient alone; the "
     "server sees an address that breaks the syntax, and may count an error; the default of refuse. void lets the "
     "server judge the recipient first, and nobody of the transaction gets the message, which is for what passes at a "
     "later attempt; the default of greylist."},
    {"rule", "delay", KEY_DURATION, NULL, 1, 240000, NULL, OF_RULE(action.delay_ms), 1, NARROWS_NOT,
     "With tarpit: how much later the reply leaves. With refuse: the same of the refusal."},
    {"rule", "stutter", KEY_DURATION, NULL, 1, 240000, NULL, BY_ITS_OWN, 1, NARROWS_NOT,
     "With greylist: how long the refusal takes to leave, in place of that of greylist { }."},
    {"rule", "encrypted", KEY_WORD, NULL, NO_RANGE, "patience close defer", BY_ITS_OWN, 0, NARROWS_NOT,
     "With on = starttls and action = greylist: what becomes of a stranger who wants to encrypt. With patience, the "
     "default, the server's consent takes `stutter` to leave; who waits for it passes, and is known from then on. With "
     "close the connection is reset before it names anybody. With defer STARTTLS is refused with 454 (`code`, `text`), "
     "and whatever else the client says then in clear with 421, which ends the connection; its envelope may be read on "
     "the client's side of this gateway."},
    {"rule", "greylist", KEY_TEXT, NULL, NO_RANGE, NULL, BY_ITS_OWN, 0, NARROWS_NOT,
     "With greylist: the name of the section `greylist \"NAME\" { }`, which stands before the rule, by which it is "
     "asked."},
    {"rule", "delay-step", KEY_DURATION, NULL, 1, 240000, NULL, OF_RULE(delay_step_ms), 1, NARROWS_NOT,
     "With tarpit: the delay grows by this with each error that the client has read since `after`."},
    {"rule", "delay-max", KEY_DURATION, NULL, 1, 240000, NULL, OF_RULE(delay_max_ms), 1, NARROWS_NOT,
     "With delay-step: up to this."},
    {"rule", "mark", KEY_NUMBER, NULL, 1, UINT32_MAX, NULL, OF_RULE(mark), 0, NARROWS_NOT,
     "The connection is marked with this number, whatever the action; rules of iptables and nftables see it as the "
     "mark of its packets."},
    {"rule", "log", KEY_CHOICE, NULL, NO_RANGE, NULL, OF_RULE(logs), 0, NARROWS_NOT,
     "An event of the type `rule` tells of each match, whatever the action."},
    {"rule", "continue", KEY_CHOICE, NULL, NO_RANGE, NULL, OF_RULE(goes_on), 0, NARROWS_NOT,
     "Whether the rules behind it are looked at, too: with mark and log, of which yes is the default, and tarpit."},
    {"rule", "for", KEY_WORD, NULL, NO_RANGE, "moment session", BY_ITS_OWN, 0, NARROWS_NOT,
     "With on = connect and action = pass: with session, no rule behind it, no verdict on an anomaly, no `strip` is "
     "for this connection. The default is this moment."},
    {.name = NULL},
};

const struct key *key_find(const char *section, const char *name)
{
    for (const struct key *key = keys; key->name; key++)
        if (strcmp(key->section, section) == 0 && strcmp(key->name, name) == 0)
            return key;
    return NULL;
}

size_t key_names(const char *section, const char *names[KEYS_MAX])
{
    size_t count = 0;
    for (const struct key *key = keys; key->name && count < KEYS_MAX; key++)
        if (strcmp(key->section, section) == 0)
            names[count++] = key->name;
    return count;
}

size_t key_words(const struct key *key, char *room, size_t size, const char *words[KEYS_MAX])
{
    size_t count = 0;
    snprintf(room, size, "%s", key->words);
    for (char *rest = room, *word; count < KEYS_MAX && (word = strtok_r(rest, " ", &rest));)
        words[count++] = word;
    return count;
}

size_t key_options(const char *section, cfg_opt_t *options)
{
    size_t count = 0;
    for (const struct key *key = keys; key->name; key++) {
        if (strcmp(key->section, section) != 0)
            continue;
        /* libConfuse does not write to what it is given as a default. */
        char *fallback;
        memcpy(&fallback, &key->fallback, sizeof fallback);
        if (key->type == KEY_LIST)
            options[count++] = (cfg_opt_t)CFG_STR_LIST(key->name, fallback, CFGF_NONE);
        else
            options[count++] = (cfg_opt_t)CFG_STR(key->name, fallback, CFGF_NONE);
    }
    return count;
}

static bool word_index(const struct key *key, const char *text, uint64_t *index)
{
    char room[256];
    const char *words[KEYS_MAX];
    size_t count = key_words(key, room, sizeof room, words);
    for (*index = 0; *index < count; ++*index)
        if (strcmp(text, words[*index]) == 0)
            return true;
    return false;
}

/* A value as a number; false, and what to write instead. */
static bool value_of(const struct key *key, const char *text, uint64_t *value, const char **wrong)
{
    bool yes = false;
    bool good = true;
    switch (key->type) {
    case KEY_CHOICE:
        good = units_choice(text, &yes, wrong);
        *value = yes;
        return good;
    case KEY_NUMBER:
        return units_number(text, value, wrong);
    case KEY_DURATION:
        return units_duration(text, value, wrong);
    case KEY_SIZE:
        return units_size(text, value, wrong);
    case KEY_WORD:
        *wrong = "";
        return word_index(key, text, value);
    case KEY_TEXT:
    case KEY_LIST:
        break;
    }
    *value = 0;
    return true;
}

static void show(const struct key *key, uint64_t value, char *out, size_t size)
{
    static const struct {
        uint64_t factor;
        const char *name;
    } times[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}},
      sizes[] = {{1u << 30, "G"}, {1u << 20, "M"}, {1u << 10, "k"}};
    if (key->type == KEY_DURATION && value)
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
            if (value % times[i].factor == 0) {
                snprintf(out, size, "%llu%s", (unsigned long long)(value / times[i].factor), times[i].name);
                return;
            }
    if (key->type == KEY_SIZE && value)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            if (value % sizes[i].factor == 0) {
                snprintf(out, size, "%llu%s", (unsigned long long)(value / sizes[i].factor), sizes[i].name);
                return;
            }
    snprintf(out, size, "%llu", (unsigned long long)value);
}

static bool has_range(const struct key *key)
{
    return key->most > 0 && (key->type == KEY_NUMBER || key->type == KEY_DURATION || key->type == KEY_SIZE);
}

bool key_check(const struct key *key, const char *text, char *wrong, size_t size)
{
    uint64_t value;
    const char *instead;
    if (!value_of(key, text, &value, &instead)) {
        snprintf(wrong, size, "%s", instead);
        return false;
    }
    if (!has_range(key) || (value >= key->least && value <= key->most))
        return true;
    char least[32], most[32];
    show(key, key->least, least, sizeof least);
    show(key, key->most, most, sizeof most);
    snprintf(wrong, size, "it is out of range; write something from %s to %s", least, most);
    return false;
}

static void store(const struct key *key, const char *text, void *structure)
{
    uint64_t value = 0;
    const char *wrong;
    uint8_t *at = (uint8_t *)structure + key->at;
    value_of(key, text, &value, &wrong);
    if (key->type == KEY_DURATION)
        value /= key->unit_ms;
    if (key->type == KEY_CHOICE)
        *(bool *)at = value != 0;
    else if (key->width == 1)
        *at = (uint8_t)value;
    else if (key->width == 2)
        *(uint16_t *)(void *)at = (uint16_t)value;
    else if (key->width == 4)
        *(uint32_t *)(void *)at = (uint32_t)value;
    else
        *(uint64_t *)(void *)at = value;
}

void key_store(const char *section, cfg_t *cfg, void *structure)
{
    for (const struct key *key = keys; key->name; key++) {
        const char *text = NULL;
        if (key->width > 0 && strcmp(key->section, section) == 0)
            text = cfg_getstr(cfg, key->name);
        if (text)
            store(key, text, structure);
    }
}

/* ---- the reference ---- */

static const char *type_name(enum key_type type)
{
    static const char *const names[] = {
        [KEY_CHOICE] = "yes or no", [KEY_NUMBER] = "number", [KEY_DURATION] = "duration", [KEY_SIZE] = "size",
        [KEY_WORD] = "word",        [KEY_TEXT] = "text",     [KEY_LIST] = "list",
    };
    return names[type];
}

static void write_words(FILE *out, const struct key *key)
{
    char room[256];
    const char *words[KEYS_MAX];
    size_t count = key_words(key, room, sizeof room, words);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s`%s`", i ? ", " : "", words[i]);
}

static void write_key(FILE *out, const struct key *key)
{
    char least[32], most[32];
    fprintf(out, "| `%s` | ", key->name);
    if (key->type == KEY_WORD) {
        write_words(out, key);
    } else {
        fputs(type_name(key->type), out);
        if (has_range(key) && key->most < UINT32_MAX - 1) {
            show(key, key->least, least, sizeof least);
            show(key, key->most, most, sizeof most);
            fprintf(out, ", %s to %s", least, most);
        }
    }
    fprintf(out, " | %s%s%s | %s |\n", key->fallback ? "`" : "", key->fallback ? key->fallback : "",
            key->fallback ? "`" : "", key->about);
}

bool key_reference(FILE *out)
{
    const char *section = NULL;
    fputs("# Every key of a rule file\n\nWritten by `postern check --keys`, from the table that the parser reads by.\n"
          "Durations have a unit: ms, s, m, h, d, w. Sizes may have one: k, M, G.\n",
          out);
    for (const struct key *key = keys; key->name; key++) {
        if (!section || strcmp(section, key->section) != 0) {
            section = key->section;
            bool variant = strcmp(section, VARIANT_SECTION) == 0;
            fprintf(out, "\n## %s%s%s\n\n| key | value | default | |\n| --- | --- | --- | --- |\n",
                    *section ? "In `" : "Outside of sections", variant ? "greylist \"NAME\"" : section,
                    *section ? " { }`" : "");
        }
        write_key(out, key);
    }
    rule_section_reference(out);
    return fflush(out) == 0 && !ferror(out);
}
