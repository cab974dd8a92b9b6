# Tells the host how this system is doing, over a port of the virtual machine's serial bus.
port() {
    for name in /sys/class/virtio-ports/*/name; do
        if read -r text < "$name" && [ "$text" = io.mkosi.notify ]; then
            name=${name%/name}
            echo "/dev/${name##*/}"
            return 0
        fi
    done 2>/dev/null
    return 1
}

# The unit is not stopped when the system goes down, but told to end by what is left as process 1 then. The words that
# this was started with say how it goes down, and with which status.
goodbye() {
    tr '\0' '\n' < /proc/1/cmdline | {
        code=0 how=
        while read -r word; do
            case $word in
            exit|poweroff|reboot|halt|kexec) how=$word ;;
            --exit-code=*) code=${word#*=} ;;
            --exit-code) read -r code ;;
            esac
        done
        if [ -n "$how" ]; then
            printf 'X_SYSTEMD_SHUTDOWN=%s\nEXIT_STATUS=%s\n' "$how" "$code" > "$port"
        fi
    }
    exit 0
}

# The driver may come later than this unit.
until port=$(port) && [ -c "$port" ]; do
    sleep 1
done
trap goodbye TERM
state=
until [ "$state" = running ] || [ "$state" = degraded ] || [ "$state" = maintenance ]; do
    sleep 1
    state=$(systemctl is-system-running 2>/dev/null)
done
echo "STATUS=$state" > "$port"
[ "$state" = maintenance ] || echo READY=1 > "$port"
while :; do
    sleep 3600 &
    wait $!
done
