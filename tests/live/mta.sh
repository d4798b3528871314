# mta.sh - real mail servers in the server namespace of netns.sh. A library for sh: source netns.sh first, then this.
#
#   mta_prepare UNPACKED-DIR          accounts and a certificate; before all others
#   mta_start_postfix ADDRESS...      start one, wait until it listens; 1 and $mta_reason where that cannot be
#   mta_start_exim ADDRESS
#   mta_start_opensmtpd ADDRESS
#   mta_start_sendmail ADDRESS
#   mta_start NAME...                 those servers, each at an address of its own, with a line of TAP (tap.sh) for each that does not
#                                     start; $mta_started has NAME=ADDRESS of the others
#   mta_wait_delivered                until their queues are empty: what they have taken is in a mailbox
#   mta_queued NAME                   print what that server has in its queue, a line each
#   mta_tls ADDRESS                   does its STARTTLS work at all, asked from beside it?
#   mta_start_sender ROUTE...         Postfix in the client namespace, which sends, and tries again every few seconds
#   mta_start_exim_sender ADDRESS     Exim likewise, all of whose mail goes to that server; it sends BDAT. In clear,
#                                     but with an empty mta_exim_avoids
#   mta_start_opensmtpd_sender ADDRESS   OpenSMTPD likewise: it takes mail at 127.0.0.1:2526 in the client namespace
#   mta_start_sendmail_sender ADDRESS    sendmail likewise, at 127.0.0.1:2527
#   mta_submit PORT SENDER FILE RECIPIENT...   give one of these two a message
#   mta_send SENDER FILE RECIPIENT... give the sending Postfix a message
#   mta_exim_send SENDER FILE RECIPIENT...
#
# A route is 'NAME SERVER OPTION...': mail of NAME@sender.test goes to that server by an smtp(8) with these options
# (KEY=VALUE); NAME null: mail of the null sender. Mail to sender.test is discarded.
#
# Exim sends what it is given with the next run of its queue; with mta_exim_when=-odb at once. It encrypts nothing unless mta_exim_avoids
# is empty; mta_exim_route has its route_list where not all goes to that server.
# With mta_slow_s=SECONDS, Postfix and Exim wait so long before they answer each RCPT and the end of each message.
#
# With mta_proxied=PORT, Postfix listens there, too, behind a load balancer that sends a PROXY header.
#
# With mta_relays=CLIENT, a server relays to anywhere for that client. Postfix and Exim then listen on port 587, too, where they
# relay for who authenticates as $mta_user with $mta_password. (OpenSMTPD has AUTH inside TLS only, and sendmail would need a
# database of Cyrus SASL.) What a server relays stays in its queue.
#
# Each server accepts mail for the accounts in $mta_accounts at example.net and stores it in a Maildir, $net_dir/mail/NAME/ACCOUNT;
# others at example.net are refused at RCPT. Pipelining is as strict as the server can make it; with mta_lenient=yes Postfix takes
# line ends as Debian ships it. Exim, OpenSMTPD and sendmail run from where mta_deps unpacked them, in a mount namespace of their
# own, so their users and their places exist only there.
# Logs: $net_dir/NAME/log, or $net_dir/NAME.err.
# shellcheck shell=sh disable=SC2154

mta_accounts="good1 good2 good3 spoil1 spoil2 void1 void2 reset many 2many 3many"
mta_uid=65534
mta_relays=
mta_slow_s=
mta_proxied=
mta_exim_when=-odq
mta_exim_avoids='*'
mta_exim_route=
mta_lenient=
mta_postfix_strict='smtpd_data_restrictions = reject_unauth_pipelining
smtpd_forbid_unauth_pipelining = yes
smtpd_forbid_bare_newline = yes'
mta_user=submitter
mta_password=secret
mta_unpacked=
mta_reason=

mta_prepare() {
    mta_unpacked=$1
    mkdir "$net_dir/mail"
    chmod 755 "$net_dir/mail"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mail.example.net \
        -keyout "$net_dir/key" -out "$net_dir/cert" 2>/dev/null
    # The users that Exim and OpenSMTPD ask for by name.
    cp /etc/passwd "$net_dir/passwd"
    cp /etc/group "$net_dir/group"
    mta_number=61100
    for mta_one in Debian-exim opensmtpd opensmtpq smmsp smmta; do
        mta_number=$((mta_number + 1))
        sed -i "/^$mta_one:/d" "$net_dir/passwd" "$net_dir/group"
        echo "$mta_one:x:$mta_number:$mta_number::/:/bin/false" >>"$net_dir/passwd"
        echo "$mta_one:x:$mta_number:" >>"$net_dir/group"
    done
    # Nobody answers there, which is known at once.
    echo 'nameserver 127.0.0.1' >"$net_dir/resolv.conf"
}

# mta_folder NAME OWNER: where it delivers.
mta_folder() {
    mkdir "$net_dir/mail/$1" "$net_dir/$1"
    chown "$2" "$net_dir/mail/$1"
    chmod 755 "$net_dir/mail/$1" "$net_dir/$1"
}

mta_wait_line() { # mta_wait_line FILE TEXT
    mta_left=500
    until grep -qs -e "$2" "$1"; do
        if [ $mta_left -le 0 ]; then
            mta_reason="it does not start: $(tail -n 3 "$1" 2>/dev/null | tr '\n' ' ')"
            return 1
        fi
        mta_left=$((mta_left - 1))
        sleep 0.02
    done
}

# mta_there NAME PROGRAM
mta_there() {
    if [ ! -x "$mta_unpacked/$1/$2" ]; then
        mta_reason="$1 is not unpacked, run make deps"
    elif ldd "$mta_unpacked/$1/$2" | grep -q 'not found'; then
        mta_reason="$1 lacks libraries, run make deps"
    else
        return 0
    fi
    return 1
}

# mta_confined NAME NS COMMAND...: start it where its users exist and what it writes outside its folder stays there.
mta_confined() {
    mta_name=$1 mta_where=$2
    shift 2
    cat >"$net_dir/$mta_name/confined" <<END
set -eu
mount -t tmpfs -o mode=755 tmpfs /var/spool
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind $net_dir/passwd /etc/passwd
mount --bind $net_dir/group /etc/group
resolv=\$(readlink -f /etc/resolv.conf)
mkdir -p "\${resolv%/*}" && : >>"\$resolv" && mount --bind $net_dir/resolv.conf "\$resolv"
mkdir -p /var/lib/opensmtpd/empty
if [ -d $mta_unpacked/$mta_name/usr/libexec/opensmtpd ]; then
    mount -t tmpfs -o mode=755 tmpfs /usr/libexec
    mkdir /usr/libexec/opensmtpd
    mount --bind $mta_unpacked/$mta_name/usr/libexec/opensmtpd /usr/libexec/opensmtpd
fi
exec "\$@"
END
    net_start "$mta_name" "$mta_where" unshare --mount --propagation private sh "$net_dir/$mta_name/confined" "$@"
}

# OpenSMTPD 6.8 does not sign with OpenSSL 3 (its issues 1171 and 1239), and that is what Debian 12 has.
mta_tls() {
    net_exec server timeout 10 openssl s_client -connect "$1:25" -starttls smtp -brief </dev/null >"$net_dir/tls.out" 2>&1
}

# mta_postfix_main NAME HOST: a configuration of its own, to be added to.
mta_postfix_main() {
    mta_etc=$net_dir/$1/etc
    mkdir "$mta_etc" "$net_dir/$1/queue" "$net_dir/$1/data"
    chown postfix "$net_dir/$1/data"
    cat >"$mta_etc/main.cf" <<END
compatibility_level = 3.6
queue_directory = $net_dir/$1/queue
data_directory = $net_dir/$1/data
maillog_file = $net_dir/$1/log
maillog_file_prefixes = $net_dir
myhostname = $2
mydestination =
mynetworks = $mta_relays
alias_maps =
alias_database =
END
    cat >"$mta_etc/master.cf" <<END
cleanup   unix  n  -  n  -     0  cleanup
qmgr      unix  n  -  n  300   1  qmgr
tlsmgr    unix  -  -  n  1000? 1  tlsmgr
rewrite   unix  -  -  n  -     -  trivial-rewrite
bounce    unix  -  -  n  -     0  bounce
defer     unix  -  -  n  -     0  bounce
trace     unix  -  -  n  -     0  bounce
proxymap  unix  -  -  n  -     -  proxymap
smtp      unix  -  -  n  -     -  smtp
error     unix  -  -  n  -     -  error
retry     unix  -  -  n  -     -  error
postlog   unix-dgram n - n  -  1  postlogd
END
}

# mta_postfix_start NAME NS
mta_postfix_start() {
    net_run "$1-check" "$2" 20 postfix -c "$mta_etc" check ||
        { mta_reason="postfix check: $(cat "$net_dir/$1-check.err")" && return 1; }
    net_start "$1" "$2" "$(postconf -c "$mta_etc" -h daemon_directory)/master" -c "$mta_etc" -d
    mta_wait_line "$net_dir/$1/log" 'daemon started'
}

mta_start_postfix() {
    command -v postfix >/dev/null || { mta_reason="no postfix here" && return 1; }
    mta_folder postfix $mta_uid
    mta_postfix_main postfix mail.example.net
    cat >>"$mta_etc/main.cf" <<END
inet_interfaces =$(printf ' [%s]' "$@")
inet_protocols = $(case $* in *:*) echo all ;; *) echo ipv4 ;; esac)
virtual_mailbox_domains = example.net
virtual_mailbox_base = $net_dir/mail/postfix
virtual_mailbox_maps = inline:{$(for mta_one in $mta_accounts; do printf ' {%s@example.net=%s/}' "$mta_one" "$mta_one"; done) }
virtual_uid_maps = static:$mta_uid
virtual_gid_maps = static:$mta_uid
smtpd_relay_restrictions = ${mta_relays:+permit_mynetworks permit_sasl_authenticated }reject_unauth_destination
$([ -n "$mta_lenient" ] || echo "$mta_postfix_strict")
smtpd_peername_lookup = no
smtpd_client_port_logging = yes
smtpd_tls_security_level = may
smtpd_tls_cert_file = $net_dir/cert
smtpd_tls_key_file = $net_dir/key
END
    cat >>"$mta_etc/master.cf" <<END
smtp      inet  n  -  n  -     -  smtpd
anvil     unix  -  -  n  -     1  anvil
virtual   unix  -  n  n  -     -  virtual
END
    [ -z "$mta_relays" ] || mta_postfix_relays
    [ -z "$mta_proxied" ] || echo "$mta_proxied inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy" >>"$mta_etc/master.cf"
    [ -z "$mta_slow_s" ] || cat >>"$mta_etc/main.cf" <<END
smtpd_recipient_restrictions = sleep $mta_slow_s
smtpd_end_of_data_restrictions = sleep $mta_slow_s
END
    mta_postfix_start postfix server
}

mta_postfix_relays() {
    cat >>"$mta_etc/main.cf" <<END
smtpd_sasl_type = dovecot
smtpd_sasl_path = $net_dir/postfix/auth
default_transport = retry:relayed
END
    # As strict about addresses as it can be.
    cat >>"$mta_etc/master.cf" <<END
submission inet n  -  n  -     -  smtpd
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_tls_auth_only=no
  -o mynetworks=
  -o strict_rfc821_envelopes=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
END
    net_start postfix-auth server "$live/auth_server" "$net_dir/postfix/auth" "$mta_user" "$mta_password"
    mta_wait_line "$net_dir/postfix-auth.out" listening
}

mta_start_sender() {
    command -v postfix >/dev/null || { mta_reason="no postfix here" && return 1; }
    mkdir "$net_dir/sender"
    chmod 755 "$net_dir/sender"
    mta_postfix_main sender mx.sender.test
    mta_routes=
    for mta_one in "$@"; do
        # shellcheck disable=SC2086
        set -- $mta_one
        mta_from=$1@sender.test
        [ "$1" != null ] || mta_from='<>'
        mta_routes="$mta_routes {$mta_from=$1:[$2]}"
        echo "$1  unix  -  -  n  -  -  smtp" >>"$mta_etc/master.cf"
        shift 2
        [ $# -eq 0 ] || printf '  -o %s\n' "$@" >>"$mta_etc/master.cf"
    done
    cat >>"$mta_etc/main.cf" <<END
inet_interfaces = loopback-only
inet_protocols = all
disable_dns_lookups = yes
sender_dependent_default_transport_maps = inline:{$mta_routes }
transport_maps = inline:{ {sender.test=discard:} }
default_destination_recipient_limit = 1000
queue_run_delay = 2s
minimal_backoff_time = 3s
maximal_backoff_time = 3s
smtp_connection_cache_on_demand = no
smtp_tls_loglevel = 1
END
    cat >>"$mta_etc/master.cf" <<END
pickup    unix  n  -  n  60    1  pickup
discard   unix  -  -  n  -     -  discard
END
    mta_postfix_start sender client
}

mta_send() {
    mta_from=$1 mta_file=$2
    shift 2
    net_exec client sendmail -C "$net_dir/sender/etc" -i -f "$mta_from" "$@" <"$mta_file"
}

mta_start_exim() {
    mta_there exim usr/sbin/exim4 || return 1
    mta_folder exim 61101
    chown 61101 "$net_dir/exim"
    # Its own copy: it is Debian-exim already when it reads the key.
    cp "$net_dir/key" "$net_dir/exim/key"
    chown 61101 "$net_dir/exim/key"
    mta_host='' mta_authenticators='' mta_ports=''
    if [ -n "$mta_relays" ]; then
        mta_ports="daemon_smtp_ports = 25 : 587"
        mta_host="deny condition = \${if eq{\$received_port}{587}}
          !authenticated = *
  accept domains = !example.net
          hosts = $mta_relays
  accept domains = !example.net
          authenticated = *"
        mta_authenticators="begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = \${if and{{eq{\$auth2}{$mta_user}}{eq{\$auth3}{$mta_password}}}}"
    fi
    cat >"$net_dir/exim.conf" <<END
$mta_ports
exim_path = $mta_unpacked/exim/usr/sbin/exim4
spool_directory = $net_dir/exim/spool
log_file_path = $net_dir/exim/%slog
log_selector = +smtp_connection +smtp_protocol_error +smtp_syntax_error +incoming_port +smtp_no_mail
primary_hostname = mail.example.net
local_interfaces = $1
disable_ipv6 = true
deliver_drop_privilege = true
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtp_enforce_sync = true
pipelining_advertise_hosts = *
pipelining_connect_advertise_hosts = *
chunking_advertise_hosts = *
tls_advertise_hosts = *
tls_certificate = $net_dir/cert
tls_privatekey = $net_dir/exim/key
smtp_accept_max = 200
acl_smtp_rcpt = check_rcpt
acl_smtp_data = check_data
acl_smtp_vrfy = accept
begin acl
check_data:
  ${mta_slow_s:+warn delay = ${mta_slow_s}s}
  accept
check_rcpt:
  ${mta_slow_s:+warn delay = ${mta_slow_s}s}
  $mta_host
  deny    message = relay not permitted
          !domains = example.net
  require verify = recipient
  accept
begin routers
relayed:
  driver = redirect
  domains = !example.net
  allow_defer
  data = :defer: relayed
accounts:
  driver = accept
  domains = example.net
  local_parts = $(echo "$mta_accounts" | sed 's/ / : /g')
  transport = maildir
begin transports
maildir:
  driver = appendfile
  maildir_format
  create_directory
  directory = $net_dir/mail/exim/\$local_part_data
  envelope_to_add
$mta_authenticators
END
    chmod 644 "$net_dir/exim.conf"
    mta_confined exim server "$mta_unpacked/exim/usr/sbin/exim4" -C "$net_dir/exim.conf" -bdf -q30s
    mta_wait_line "$net_dir/exim/mainlog" 'listening for SMTP' && return 0
    mta_reason="$mta_reason $(tail -n 3 "$net_dir/exim.err")"
    return 1
}

mta_start_exim_sender() {
    mta_there exim usr/sbin/exim4 || return 1
    mkdir "$net_dir/exim-sender"
    chown 61101 "$net_dir/exim-sender"
    cat >"$net_dir/exim-sender.conf" <<END
exim_path = $mta_unpacked/exim/usr/sbin/exim4
spool_directory = $net_dir/exim-sender/spool
log_file_path = $net_dir/exim-sender/%slog
primary_hostname = mx.sender.test
local_interfaces = 127.0.0.1
disable_ipv6 = true
deliver_drop_privilege = true
keep_environment =
host_lookup =
queue_run_max = 20
begin routers
bounces:
  driver = redirect
  domains = sender.test
  data = :blackhole:
others:
  driver = manualroute
  route_list = ${mta_exim_route:-* $1 byname}
  transport = smtp
begin transports
smtp:
  driver = smtp
  hosts_avoid_tls = $mta_exim_avoids
begin retry
* * F,1h,3s
END
    chmod 644 "$net_dir/exim-sender.conf"
    mta_confined exim-sender client "$mta_unpacked/exim/usr/sbin/exim4" -C "$net_dir/exim-sender.conf" -bdf -q2s
    mta_wait_line "$net_dir/exim-sender/mainlog" 'listening for SMTP' && return 0
    mta_reason="$mta_reason $(tail -n 3 "$net_dir/exim-sender.err")"
    return 1
}

mta_exim_send() {
    mta_from=$1 mta_file=$2
    shift 2
    net_exec client unshare --mount --propagation private sh "$net_dir/exim-sender/confined" \
        "$mta_unpacked/exim/usr/sbin/exim4" -C "$net_dir/exim-sender.conf" "$mta_exim_when" -oi -f "$mta_from" "$@" <"$mta_file"
}

# mta_submit PORT SENDER FILE RECIPIENT...
mta_submit() {
    net_exec client timeout 20 python3 -c 'import smtplib, sys
port, sender, path, *recipients = sys.argv[1:]
with smtplib.SMTP("127.0.0.1", int(port), timeout=15) as link, open(path, "rb") as file:
    link.sendmail(sender, recipients, file.read().replace(b"\n", b"\r\n"))' "$@"
}

mta_start_opensmtpd_sender() {
    mta_there opensmtpd usr/sbin/smtpd || return 1
    mkdir "$net_dir/opensmtpd-sender"
    cat >"$net_dir/opensmtpd-sender/conf" <<END
listen on 127.0.0.1 port 2526 hostname mx.opensmtpd.test
action "out" relay host smtp://$1 helo mx.opensmtpd.test
match from any for any action "out"
END
    mta_confined opensmtpd-sender client "$mta_unpacked/opensmtpd/usr/sbin/smtpd" -d -f "$net_dir/opensmtpd-sender/conf"
    mta_wait_line "$net_dir/opensmtpd-sender.err" 'starting' || return 1
    net_wait_port client 2526 10
}

mta_start_sendmail_sender() {
    mta_there sendmail usr/libexec/sendmail/sendmail || return 1
    command -v m4 >/dev/null || { mta_reason="no m4 here, run make deps" && return 1; }
    mkdir -p "$net_dir/sendmail-sender/queue"
    mta_cf=$mta_unpacked/sendmail/usr/share/sendmail/cf
    cat >"$net_dir/sendmail-sender/mc" <<END
include(\`$mta_cf/m4/cf.m4')
OSTYPE(\`linux')
FEATURE(\`no_default_msa')
FEATURE(\`nocanonify')
FEATURE(\`promiscuous_relay')
FEATURE(\`accept_unresolvable_domains')
DAEMON_OPTIONS(\`Family=inet, Addr=127.0.0.1, Port=2527, Name=MTA')
define(\`SMART_HOST', \`[$1]')
define(\`confDOMAIN_NAME', \`mx.sendmail.test')
define(\`confPID_FILE', \`$net_dir/sendmail-sender/pid')
define(\`QUEUE_DIR', \`$net_dir/sendmail-sender/queue')
define(\`STATUS_FILE', \`')
define(\`confHOSTS_FILE', \`/etc/hosts')
define(\`confSERVICE_SWITCH_FILE', \`$net_dir/sendmail-sender/switch')
define(\`confCW_FILE', \`-o $net_dir/sendmail-sender/none')
define(\`confCT_FILE', \`-o $net_dir/sendmail-sender/none')
define(\`confCR_FILE', \`-o $net_dir/sendmail-sender/none')
define(\`confTO_IDENT', \`0')
define(\`confDONT_BLAME_SENDMAIL', \`AssumeSafeChown')
define(\`confREFUSE_LA', \`1000')
define(\`confQUEUE_LA', \`1000')
define(\`confDELAY_LA', \`0')
MAILER(\`smtp')
END
    printf 'hosts files\n' >"$net_dir/sendmail-sender/switch"
    m4 "-D_CF_DIR_=$mta_cf/" "$net_dir/sendmail-sender/mc" >"$net_dir/sendmail-sender/cf" 2>"$net_dir/sendmail-sender/cf.err" ||
        { mta_reason="m4: $(cat "$net_dir/sendmail-sender/cf.err")" && return 1; }
    # shellcheck disable=SC2016
    mta_confined sendmail-sender client unshare --uts sh -c 'hostname mx.sendmail.test && exec "$@"' sh \
        "$mta_unpacked/sendmail/usr/libexec/sendmail/sendmail" -C "$net_dir/sendmail-sender/cf" \
        -X "$net_dir/sendmail-sender/log" -bD -q3s
    net_wait_port client 2527 10
}

mta_start_opensmtpd() {
    mta_there opensmtpd usr/sbin/smtpd || return 1
    mta_folder opensmtpd $mta_uid
    cp "$net_dir/key" "$net_dir/opensmtpd/key"
    chmod 600 "$net_dir/opensmtpd/key"
    for mta_one in $mta_accounts; do
        # A home there is, or it complains; the Maildir stands elsewhere.
        echo "$mta_one $mta_uid:$mta_uid:/"
    done >"$net_dir/opensmtpd/users"
    cat >"$net_dir/opensmtpd/conf" <<END
table users file:$net_dir/opensmtpd/users
pki mail cert "$net_dir/cert"
pki mail key "$net_dir/opensmtpd/key"
listen on $1 port 25 tls pki mail hostname mail.example.net
action "maildir" maildir "$net_dir/mail/opensmtpd/%{user.username}" userbase <users>
match from any for domain "example.net" action "maildir"
END
    if [ -n "$mta_relays" ]; then
        # Nobody listens on the port to which it would relay.
        cat >>"$net_dir/opensmtpd/conf" <<END
action "relayed" relay host smtp://127.0.0.1:9
match from src $mta_relays for any action "relayed"
END
    fi
    mta_confined opensmtpd server "$mta_unpacked/opensmtpd/usr/sbin/smtpd" -d -f "$net_dir/opensmtpd/conf"
    # It says so before it listens: columns of /proc/net/tcp are number, local address, remote address, state (0A listens).
    mta_wait_line "$net_dir/opensmtpd.err" 'starting' || return 1
    mta_wait_listen opensmtpd "$1"
}

mta_wait_listen() { # mta_wait_listen NAME ADDRESS
    mta_left=250
    until net_exec server cat /proc/net/tcp | grep -q " $(mta_hex "$2"):0019 00000000:0000 0A"; do
        [ $mta_left -gt 0 ] || { mta_reason="it does not listen: $(tail -n 3 "$net_dir/$1.err")" && return 1; }
        mta_left=$((mta_left - 1))
        sleep 0.02
    done
}

# An address as /proc/net/tcp has it, in this machine's order of octets.
mta_hex() {
    python3 -c 'import socket, sys; print("%08X" % int.from_bytes(socket.inet_aton(sys.argv[1]), sys.byteorder))' "$1"
}

mta_start_sendmail() {
    mta_there sendmail usr/libexec/sendmail/sendmail || return 1
    command -v m4 >/dev/null || { mta_reason="no m4 here, run make deps" && return 1; }
    mta_folder sendmail root
    mkdir "$net_dir/sendmail/queue"
    mta_cf=$mta_unpacked/sendmail/usr/share/sendmail/cf
    # Its users have accounts; the program that delivers is ours, and runs as root.
    for mta_one in $mta_accounts; do
        echo "$mta_one:x:$mta_uid:$mta_uid::/:/bin/false" >>"$net_dir/passwd"
    done
    cat >"$net_dir/sendmail/deliver" <<END
#!/bin/sh
umask 022
mkdir -p "$net_dir/mail/sendmail/\$1/new"
cat >"$net_dir/mail/sendmail/\$1/\$\$"
mv "$net_dir/mail/sendmail/\$1/\$\$" "$net_dir/mail/sendmail/\$1/new/\$(date +%s.%N).\$\$"
END
    chmod 755 "$net_dir/sendmail/deliver"
    : >"$net_dir/sendmail/relays"
    [ -z "$mta_relays" ] || echo 'FEATURE(`promiscuous_relay'"')" >"$net_dir/sendmail/relays"
    cat >"$net_dir/sendmail/mc" <<END
include(\`$mta_cf/m4/cf.m4')
OSTYPE(\`linux')
FEATURE(\`no_default_msa')
FEATURE(\`nocanonify')
FEATURE(\`accept_unresolvable_domains')
FEATURE(\`accept_unqualified_senders')
$(cat "$net_dir/sendmail/relays")
DAEMON_OPTIONS(\`Family=inet, Addr=$1, Port=25, Name=MTA')
define(\`confDOMAIN_NAME', \`mail.example.net')
define(\`confPID_FILE', \`$net_dir/sendmail/pid')
define(\`QUEUE_DIR', \`$net_dir/sendmail/queue')
define(\`STATUS_FILE', \`')
define(\`confHOSTS_FILE', \`/etc/hosts')
define(\`confSERVICE_SWITCH_FILE', \`$net_dir/sendmail/switch')
define(\`confCW_FILE', \`-o $net_dir/sendmail/none')
define(\`confCT_FILE', \`-o $net_dir/sendmail/none')
define(\`confCR_FILE', \`-o $net_dir/sendmail/none')
define(\`confTO_IDENT', \`0')
define(\`confTO_ICONNECT', \`1s')
define(\`confDONT_BLAME_SENDMAIL', \`AssumeSafeChown')
define(\`confMAX_DAEMON_CHILDREN', \`200')
define(\`confREFUSE_LA', \`1000')
define(\`confQUEUE_LA', \`1000')
define(\`confDELAY_LA', \`0')
define(\`LOCAL_MAILER_PATH', \`$net_dir/sendmail/deliver')
define(\`LOCAL_MAILER_ARGS', \`deliver \$u')
define(\`LOCAL_MAILER_FLAGS', \`SPn')
MODIFY_MAILER_FLAGS(\`LOCAL', \`-A')
LOCAL_DOMAIN(\`example.net')
MAILER(\`local')
MAILER(\`smtp')
END
    printf 'hosts files\n' >"$net_dir/sendmail/switch"
    m4 "-D_CF_DIR_=$mta_cf/" "$net_dir/sendmail/mc" >"$net_dir/sendmail/cf" 2>"$net_dir/sendmail/cf.err" ||
        { mta_reason="m4: $(cat "$net_dir/sendmail/cf.err")" && return 1; }
    # Without a name that has a dot it sleeps for a minute before it listens.
    # shellcheck disable=SC2016
    mta_confined sendmail server unshare --uts sh -c 'hostname mail.example.net && exec "$@"' sh \
        "$mta_unpacked/sendmail/usr/libexec/sendmail/sendmail" -C "$net_dir/sendmail/cf" \
        -X "$net_dir/sendmail/log" -bD -q30s
    mta_wait_listen sendmail "$1"
}

mta_queued() {
    case $1 in
    postfix) net_exec server postqueue -c "$net_dir/postfix/etc" -p 2>/dev/null | grep -v 'Mail queue is empty' ;;
    exim) ls "$net_dir/exim/spool/input" 2>/dev/null ;;
    sendmail) ls "$net_dir/sendmail/queue" ;;
    opensmtpd) find "/proc/$(cat "$net_dir/pids/opensmtpd")/root/var/spool/smtpd/queue" -type f ;;
    esac
}

mta_start() {
    mta_started= mta_last=40
    for mta_server in "$@"; do
        mta_last=$((mta_last + 1))
        net_address server 10.2.2.$mta_last
        if "mta_start_$mta_server" 10.2.2.$mta_last; then
            mta_started="$mta_started $mta_server=10.2.2.$mta_last"
            continue
        fi
        case $mta_reason in
        *'run make deps'* | 'no '*) skip "$mta_server" "$mta_reason" ;;
        *) echo "$mta_reason" >"$net_dir/why" && result 1 "$mta_server starts" "$net_dir/why" ;;
        esac
    done
}

mta_wait_delivered() {
    for mta_server in $mta_started; do
        mta_left=300
        while [ -n "$(mta_queued "${mta_server%%=*}")" ] && [ $mta_left -gt 0 ]; do
            mta_left=$((mta_left - 1))
            sleep 0.1
        done
    done
}
