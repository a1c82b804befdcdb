# Stands for the images of the compose file that are not ours, where no registry answers: Debian's Redis, Prometheus,
# Alertmanager, Python and Java, and Kafka from Maven Central. Everything is where the upstream images have it.
FROM localhost/fraud.stand-in-debian
RUN apt-get -q update >/dev/null \
 && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends openjdk-17-jre-headless \
      prometheus prometheus-alertmanager python3 redis-server wget >/dev/null \
 && rm -rf /var/lib/apt/lists/*
COPY libs /opt/kafka/libs
RUN mkdir -p /opt/kafka/bin /opt/kafka/config \
 && for command in kafka-storage:kafka.tools.StorageTool kafka-server-start:kafka.Kafka kafka-topics:org.apache.kafka.tools.TopicCommand; do \
      printf '#!/bin/bash\nexec java ${KAFKA_HEAP_OPTS:--Xmx256m} ${KAFKA_JVM_PERFORMANCE_OPTS:-} -cp "/opt/kafka/libs/*" %s "$@"\n' \
        "${command#*:}" >"/opt/kafka/bin/${command%:*}.sh"; \
    done \
 && chmod 755 /opt/kafka/bin/*.sh \
 && printf 'Configuration:\n  status: warn\n' >/opt/kafka/config/tools-log4j2.yaml \
 && ln -s /usr/bin/python3 /usr/local/bin/python3
# A volume begins as a copy of the folder, owner and all.
RUN install -d -o 1000 -g 1000 /var/lib/kafka/data && install -d -o 999 -g 999 /data \
 && install -d -o 65534 -g 65534 /prometheus /alertmanager
