# Does in this system what the host asks for, over ports of the virtual machine's serial bus. See the package that
# this file belongs to for what is said over them.
port() {
    for name in /sys/class/virtio-ports/*/name; do
        if read -r text < "$name" && [ "$text" = "$1" ]; then
            name=${name%/name}
            [ -c "/dev/${name##*/}" ] && echo "/dev/${name##*/}"
            return
        fi
    done 2>/dev/null
    return 1
}

# The driver may come later than this unit.
until control=$(port io.mkosi.control) && output=$(port io.mkosi.output) && error=$(port io.mkosi.error); do
    sleep 1
done
log=$(port io.mkosi.log) && journalctl --boot --follow --no-tail --no-pager --output=short-precise > "$log" 2>/dev/null &
exec 3<>"$control" 4>"$output" 5>"$error"
unset CREDENTIALS_DIRECTORY INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE
export HOME=/root USER=root LOGNAME=root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# What is sent must be executable whatever /run is mounted with.
dir=/run/mkosi-test
mkdir -p "$dir"
mount -t tmpfs -o mode=0755 mkosi-test "$dir" 2>/dev/null

# property prints one property of a unit.
property() {
    systemctl show --property="$2" --value "$1"
}

# install makes a file that was sent a unit. Its end is noted by the unit itself: systemd forgets a unit that has ended
# well before anybody can ask.
install() {
    units=/run/systemd/system
    mkdir -p "$units/$1.d" && cp "$dir/$1" "$units/$1" || return
    cat > "$units/$1.d/mkosi-test.conf" <<END
[Service]
ExecStopPost=+/bin/sh -c 'echo "\$\$SERVICE_RESULT \$\$EXIT_STATUS" > "$dir/.ended/$1"'
END
    stale=yes
}

# run_unit starts a unit, waits until it has ended or has nothing left to do, and sets $status and $word.
run_unit() {
    name=$1 limit=$2 status=1 word=unloadable
    ended=$dir/.ended/$name
    mkdir -p "$dir/.ended"
    rm -f "$ended"
    if [ "$stale" = yes ]; then
        systemctl daemon-reload
        stale=
    fi
    timeout -k 10 "$limit" systemctl start "$name"
    [ $? = 124 ] && limit=0
    while [ ! -s "$ended" ]; do
        case $(property "$name" ActiveState)-$(property "$name" SubState) in
        active-exited)
            status=0 word=success
            break
            ;;
        inactive-*|failed-*)
            if [ ! -s "$ended" ] && [ "$(property "$name" LoadState)" = loaded ]; then
                word=condition
            fi
            break
            ;;
        esac
        if [ "$limit" -le 0 ]; then
            systemctl stop --no-block "$name"
            status=124 word=timeout
            break
        fi
        sleep 1
        limit=$((limit - 1))
    done
    if [ "$word" != timeout ] && [ -s "$ended" ]; then
        read -r word status < "$ended"
        case $status in
        ''|0|*[!0-9]*) status=1 ;; # the name of a signal, or it is not the process that failed
        esac
        [ "$word" != success ] || status=0
    fi
    journalctl --sync 2>/dev/null
    journalctl --boot --no-pager --output=cat --unit="$name"
}

echo "hello 1" >&3
last=
while :; do
    state=$(systemctl is-system-running 2>/dev/null)
    case $state in
    running|degraded|maintenance|stopping) break ;;
    esac
    [ "$state" = "$last" ] || echo "state $state" >&3
    last=$state
    sleep 1
done
echo "ready $state" >&3

# Each request is one line. The host sends nothing before the reply to it.
while read -r request name number mark <&3; do
    status=0 word=
    case $request in
    file)
        head -c "$number" <&3 > "$dir/$name" 2>&5 && chmod "$mark" "$dir/$name" 2>&5 || status=1
        mark=
        case $name in
        *.service) install "$name" 2>&5 || status=1 ;;
        esac
        ;;
    run)
        (cd "$dir" && exec timeout -k 10 "$number" "./$name") </dev/null >&4 2>&5 3<&-
        status=$?
        ;;
    unit)
        run_unit "$name" "$number" </dev/null >&4 2>&5
        ;;
    failed)
        systemctl list-units --state=failed --plain --no-legend --no-pager >&4 2>&5
        ;;
    journal)
        journalctl --sync 2>/dev/null
        journalctl --boot --no-pager --output=short-precise >&4 2>&5
        ;;
    *)
        status=1 word=unknown
        ;;
    esac
    if [ -n "$mark" ]; then
        printf %s "$mark" >&4
        printf %s "$mark" >&5
    fi
    echo "exit $status $word" >&3
done
