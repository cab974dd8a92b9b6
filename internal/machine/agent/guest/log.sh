# Sends the journal to the host as text, over a port of the virtual machine's serial bus, while it is written.
port() {
    for name in /sys/class/virtio-ports/*/name; do
        if read -r text < "$name" && [ "$text" = io.mkosi.log ]; then
            name=${name%/name}
            echo "/dev/${name##*/}"
            return 0
        fi
    done 2>/dev/null
    return 1
}

# The driver may come later than this unit.
until port=$(port) && [ -c "$port" ]; do
    sleep 1
done
exec journalctl --boot --follow --no-tail --no-pager --output=short-precise > "$port"
