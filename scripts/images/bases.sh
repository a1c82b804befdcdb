# Sourced: where no image registry answers, makes stand-ins for the base images, under the names that the Dockerfile
# uses: Debian's own packages, and this machine's Rust toolchain. A stand-in carries the label of that name.

stand_in_label="fraud.stand-in"
rust_base="$(sed -n 's/^FROM \(docker\.io[^ ]*\) AS rust$/\1/p' "$root/deploy/docker/Dockerfile")"
runtime_base="$(sed -n 's/^FROM \(gcr\.io[^ ]*\) AS runtime$/\1/p' "$root/deploy/docker/Dockerfile")"

has_image() { engine image inspect "$1" >/dev/null 2>&1; }

# Docker keeps its images of itself; a base that is here already is not asked for again.
bases() {
  local image
  for image in "$rust_base" "$runtime_base"; do
    has_image "$image" && continue
    echo "images: pulling $image" >&2
    engine pull -q "$image" >/dev/null 2>&1 && continue
    echo "images: no registry has answered for it; making a stand-in (once, 2 minutes)" >&2
    case "$image" in
      "$rust_base") stand_in_rust ;;
      "$runtime_base") stand_in_runtime ;;
    esac
  done
}

# A Debian of its own, with what the official image of Rust has and our build uses.
debian() {
  debian="$(readlink -f "$store")/debian"
  [ -e "$debian/complete" ] && return 0
  [ "$(id -u)" -eq 0 ] || { echo "images: making base images needs root: sudo scripts/images.sh" >&2; exit 1; }
  command -v debootstrap >/dev/null || need debootstrap
  rm -rf "$debian"
  debootstrap --variant=minbase --include=g++,gcc,libc6-dev,libssl-dev,make,pkg-config,zlib1g-dev \
    bookworm "$debian" >"$store/debootstrap.log" 2>&1 || { tail -n 5 "$store/debootstrap.log" >&2; exit 1; }
  # The authorities that this machine trusts, for what a build downloads.
  install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$debian/etc/ssl/certs/ca-certificates.crt"
  touch "$debian/complete"
}

stand_in_rust() {
  debian
  local toolchain; toolchain="$(rustc --print sysroot)"
  tar -C "$debian" --exclude=./complete --exclude=./var/cache/apt --exclude=./proc --exclude=./sys \
    --transform 's,^rust/,./usr/local/rust/,' -c . -C "$(dirname "$toolchain")" --exclude='*/share/*' \
    --transform "s,^$(basename "$toolchain")/,./usr/local/rust/," "$(basename "$toolchain")" |
    engine import -q --change "LABEL $stand_in_label=true" --change 'ENV CARGO_HOME=/usr/local/cargo' \
      --change 'ENV PATH=/usr/local/rust/bin:/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
      - "$rust_base" >/dev/null
}

# The packages of the distroless image of the same name, unpacked and not configured.
stand_in_runtime() {
  debian
  local tree; tree="$(mktemp -d)"
  chroot "$debian" sh -ec 'cd /tmp && rm -f ./*.deb && apt-get -q update >/dev/null && apt-get -q download \
    base-files ca-certificates libc6 libgcc-s1 libgomp1 libssl3 libstdc++6 media-types netbase tzdata >/dev/null 2>&1'
  local package
  for package in "$debian"/tmp/*.deb; do dpkg-deb -x "$package" "$tree"; done
  rm -rf "$tree/usr/share/doc" "$tree/usr/share/man"
  cat "$tree"/usr/share/ca-certificates/mozilla/*.crt >"$tree/etc/ssl/certs/ca-certificates.crt"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$tree/etc/group"
  install -d -m 1777 "$tree/tmp"
  install -d -m 700 -o 65532 -g 65532 "$tree/home/nonroot"
  tar -C "$tree" -c . | engine import -q --change "LABEL $stand_in_label=true" --change 'USER 65532' \
    --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' --change 'WORKDIR /home/nonroot' - "$runtime_base" >/dev/null
  rm -rf "$tree"
}
