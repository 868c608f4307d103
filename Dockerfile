# docker build -t jnas . && docker run --rm -v "$PWD:/work" jnas search --minutes 3
FROM python:3.12-slim
COPY . /src
# For a GPU: docker build --build-arg EXTRAS=cuda,export . and docker run --gpus all
ARG EXTRAS=export
RUN pip install --no-cache-dir "/src[$EXTRAS]" && rm -r /src
WORKDIR /work
ENTRYPOINT ["jnas"]
CMD ["--help"]
